package zerocopy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/vm"
	"github.com/fastlb/fastlb/lab"
)

// some is what is sent there: workers that never sleep leave an emulated machine little time for anything else.
const some = 512 << 10

// TestBusyPolling polls the NICs' queues by the workers' system calls while their interrupts are held off; a director that
// is killed and one that follows it leave the interfaces' settings as the first one found them, which is not the default.
func TestBusyPolling(t *testing.T) {
	b := boot(t, zeroCopyNIC, zeroCopyNIC)
	b.set("eth0", "gro_flush_timeout", "12345")
	before := b.deferral()
	c := lab.DirectorConfig{Attach: "zerocopy", Poll: "busy", Services: services(b.Plan)}
	nat := service(b.Plan, "nat", 4)
	for _, end := range []string{"kill", "stop"} {
		b.launch(c)
		b.exchange(t, nat, some) // some kernels know what to poll only when a packet has come
		b.eventually(func() error {
			s := b.status()
			for _, i := range s.Interfaces {
				if i.BusyPoll != "on" {
					return fmt.Errorf("busy polling of %s: %q", i.Name, i.BusyPoll)
				}
			}
			return nil
		})
		const during = "eth0 200000 2, eth1 200000 2"
		if got := b.deferral(); got != during {
			t.Errorf("while a director runs: %s, want %s", got, during)
		}
		was := b.status()
		b.exchange(t, nat, some)
		now := b.status()
		for i, w := range now.Workers {
			if w.Syscalls.Poll != 0 || w.Syscalls.Receive == was.Workers[i].Syscalls.Receive {
				t.Errorf("worker %d: system calls %+v, before %+v", i, w.Syscalls, was.Workers[i].Syscalls)
			}
			for _, q := range w.Queues {
				if q.NAPI == 0 {
					t.Errorf("worker %d does not poll %s queue %d", i, q.Interface, q.Queue)
				}
			}
		}
		if end == "kill" {
			b.ask(patience, vm.Request{Do: "kill", Name: logFile})
			if got := b.deferral(); got != during {
				t.Errorf("after kill -9: %s", got)
			}
		}
	}
	b.stop()
	if got := b.deferral(); got != before {
		t.Errorf("left behind: %s; found: %s", got, before)
	}
}

func (b *bed) set(nic, file, value string) {
	b.t.Helper()
	b.ask(patience, vm.Request{Do: "write", Name: "/sys/class/net/" + nic + "/" + file, Data: []byte(value)})
}

// deferral is how the director's NICs hold interrupts off: flush timeout in nanoseconds, and looks in vain.
func (b *bed) deferral() string {
	b.t.Helper()
	var all []string
	for _, i := range b.Plan.Router.Interfaces {
		words := []string{i.Name}
		for _, file := range []string{"gro_flush_timeout", "napi_defer_hard_irqs"} {
			a := b.ask(patience, vm.Request{Do: "read", Name: "/sys/class/net/" + i.Name + "/" + file})
			words = append(words, strings.TrimSpace(string(a.Data)))
		}
		all = append(all, strings.Join(words, " "))
	}
	return strings.Join(all, ", ")
}
