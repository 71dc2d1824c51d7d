package tune

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A veth pair has neither interrupts nor a table, and says so; nothing of that is an error, or a director could not run
// on it.
func TestVirtualInterface(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("FASTLB_REQUIRE_E2E") == "1" {
			t.Fatal("needs root for a network namespace")
		}
		t.Skip("needs root for a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0", NumTxQueues: 4, NumRxQueues: 4}, PeerName: "peer"}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Live.OpenDrivers()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if table, err := d.Table("eth0"); !errors.Is(err, ErrNoTable) || table != nil {
		t.Errorf("RSS table of a veth: %v, %v", table, err)
	}
	if _, err := d.Table("nothing"); !isGone(err) {
		t.Errorf("RSS table of an interface that is not there: %v", err)
	}
	if err := d.SetTable("eth0", []int{0, 1}); !errors.Is(err, ErrNoTable) {
		t.Errorf("RSS table of a veth set: %v", err)
	}
	irqs, err := Live.QueueIRQs("eth0", "", link.Attrs().Index, 4)
	if err != nil || len(irqs) != 4 || len(irqs[0])+len(irqs[1])+len(irqs[2])+len(irqs[3]) != 0 {
		t.Errorf("interrupts of a veth: %v, %v", irqs, err)
	}
	index := func(string) (int, bool) { return link.Attrs().Index, true }
	s := d.TableOf("eth0", link.Attrs().Index)
	if again := d.Open(s.Key(), index); again == nil || again.Key() != s.Key() {
		t.Errorf("%q opened: %v", s.Key(), again)
	}
	other := d.TableOf("eth0", link.Attrs().Index+1000) // what had the name before
	if _, err := other.Read(); !isGone(err) {
		t.Errorf("RSS table of another eth0: %v", err)
	}
	if err := other.Write("0"); !isGone(err) {
		t.Errorf("RSS table of another eth0 set: %v", err)
	}
	if _, err := s.Read(); !errors.Is(err, ErrNoTable) {
		t.Errorf("RSS table of a veth as a setting: %v", err)
	}
	for _, key := range []string{"rss 99 eth0", "irq 99999 virtio0-input.0", "irq x y", "what 1 2", ""} {
		if s := d.Open(key, index); s != nil {
			t.Errorf("%q opened: %v", key, s)
		}
	}
}
