package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"

	"github.com/fastlb/fastlb/conformance/wire"
	"github.com/fastlb/fastlb/internal/vm/guest"
)

func main() { guest.Main(play) }

// play is the machine's whole life.
func play() error {
	runtime.LockOSThread() // the thread enters the cases' namespaces
	if err := guest.Prepare("ipvs"); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644); err != nil {
		return err
	}
	out, err := guest.Port()
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := os.Open("/cases.json")
	if err != nil {
		return err
	}
	defer in.Close()
	results := json.NewEncoder(out)
	for d := json.NewDecoder(bufio.NewReader(in)); ; {
		var c wire.Case
		if err := d.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r := playCase(&c)
		if err := results.Encode(r); err != nil {
			return err
		}
	}
}
