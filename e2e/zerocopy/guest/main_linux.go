package main

import (
	"encoding/json"
	"fmt"
	"net"

	"github.com/fastlb/fastlb/internal/vm"
	"github.com/fastlb/fastlb/internal/vm/guest"
	"github.com/fastlb/fastlb/lab"
)

func main() { guest.Main(serve) }

// serve is the machine's whole life.
func serve() error {
	if err := guest.Prepare("net"); err != nil {
		return err
	}
	port, err := guest.Port()
	if err != nil {
		return err
	}
	defer port.Close()
	return guest.Serve(port, map[string]guest.Do{"node": node, "rss": rss, "queues": queues})
}

// node makes the machine a node of the lab's plan, which is the request's data.
func node(r *vm.Request) (a vm.Answer, err error) {
	var n lab.Node
	if err := json.Unmarshal(r.Data, &n); err != nil {
		return a, err
	}
	for _, i := range n.Interfaces {
		nic, err := net.InterfaceByName(i.Name)
		if err != nil {
			return a, fmt.Errorf("interface %s: %w", i.Name, err)
		}
		if nic.HardwareAddr.String() != i.MAC.String() {
			return a, fmt.Errorf("interface %s is %s, not %s: the NICs came in another order", i.Name, nic.HardwareAddr, i.MAC)
		}
	}
	if err := lab.Set(n.Sysctls); err != nil {
		return a, err
	}
	return a, lab.Address(n)
}
