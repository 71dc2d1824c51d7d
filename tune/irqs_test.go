package tune

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// fake is a machine in a folder.
type fake struct {
	System
	t    *testing.T
	irqs []string // lines of /proc/interrupts
}

func newFake(t *testing.T) *fake {
	f := &fake{System: System{Proc: filepath.Join(t.TempDir(), "proc"), Sys: filepath.Join(t.TempDir(), "sys")}, t: t}
	f.irqs = []string{"           CPU0       CPU1"}
	f.write(filepath.Join(f.Proc, "interrupts"), f.irqs[0]+"\n")
	f.write(filepath.Join(f.Proc, "sys/kernel/random/boot_id"), "boot one\n")
	f.process(os.Getpid(), "fastlb", 100)
	return f
}

func (f *fake) write(path, text string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) process(pid int, name string, start int) {
	dir := filepath.Join(f.Proc, strconv.Itoa(pid))
	f.write(filepath.Join(dir, "comm"), name+"\n")
	f.write(filepath.Join(dir, "stat"), fmt.Sprintf("%d (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 %d 20 21\n", pid, start))
}

// irq makes an interrupt of a device; chip is all between the counts and the name.
func (f *fake) irq(number int, device, chip, name, cpus string) {
	f.irqs = append(f.irqs, fmt.Sprintf("%4d:   12   0   %s   %s", number, chip, name))
	f.write(filepath.Join(f.Proc, "interrupts"), strings.Join(f.irqs, "\n")+"\nNMI:   0   0   Non-maskable interrupts\nERR:   0\n")
	f.write(f.irqFile(number, "smp_affinity_list"), cpus+"\n")
	f.write(f.irqFile(number, "effective_affinity_list"), strings.Split(cpus, "-")[0]+"\n")
	if device != "" {
		f.write(filepath.Join(f.Sys, "bus/pci/devices", device, "msi_irqs", strconv.Itoa(number)), "msix\n")
	}
}

// What drivers of today call the interrupts of their queues, and those that are none.
func TestQueueOf(t *testing.T) {
	for name, want := range map[string]int{
		"virtio0-input.0": 0, "virtio12-output.3": 3, "virtio0-config": -1, "virtio3-rx": -1,
		"eth0-TxRx-3": 3, "i40e-ens1f0-TxRx-17": 17, "i40e-0000:01:00.0:misc": -1, "ice-eth0-TxRx-199": 199, "iavf-eth0-TxRx-1": 1,
		"ice-0000:01:00.0:misc": -1, "eth0-rx-0": 0, "eth0-tx-1": 1, "ens5-Tx-Rx-7": 7, "ena-mgmnt@pci:0000:00:05.0": -1,
		"mlx5_comp3@pci:0000:01:00.0": 3, "mlx5_async0@pci:0000:01:00.0": -1, "mlx4-5@0000:02:00.0": 5, "mlx4-async@pci:0000:02:00.0": -1,
		"eth0-fp-2": 2, "eth0-sp": -1, "eth0-rxtx-4": 4, "eth0-event-5": -1, "eth0-q2-rx": 2, "eth0-q2-tx": 2, "mana_q6@pci:7870:00:00.0": 6,
		"eth0 (queue 9)": 9, "eth0-Rx12": 12, "nvme0q3": -1, "eth1": -1, "": -1, "gve-ntfy-blk4@pci:0000:00:04.0": -1,
	} {
		got, ok := queueOf(name)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q is of queue %d, want %d", name, got, want)
		}
	}
}

func TestIRQNames(t *testing.T) {
	f := newFake(t)
	f.irq(5, "", "IO-APIC   2-fasteoi", "ACPI:Ged, serial", "0")
	f.irq(24, "", "PCI-MSI 524288-edge", "eth0-TxRx-0", "0")
	f.irq(25, "", "PCI-MSIX-0000:00:03.0   1-edge", "virtio0-input.0", "0")
	f.irq(26, "", "ITS-MSI 524289 Edge", "mlx5_comp0@pci:0000:01:00.0", "0")
	f.irq(27, "", "dummy 44", "rx-0", "0")
	f.irq(28, "", "PCI-MSI 3-edge", "", "0")
	f.irq(29, "", "dummy", "", "0")
	got, err := f.IRQNames()
	want := map[int]string{5: "ACPI:Ged, serial", 24: "eth0-TxRx-0", 25: "virtio0-input.0", 26: "mlx5_comp0@pci:0000:01:00.0", 27: "rx-0", 28: "", 29: ""}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := (System{Proc: t.TempDir()}).IRQNames(); err == nil {
		t.Error("no /proc/interrupts, no error")
	}
}

func TestNamedIRQs(t *testing.T) {
	f := newFake(t)
	for i, name := range []string{"virtio0-config", "virtio0-input.0", "virtio0-output.0", "virtio0-input.1", "virtio0-output.1", "virtio0-input.2"} {
		f.irq(40+i, "0000:00:03.0", "PCI-MSIX-0000:00:03.0 1-edge", name, "0-1")
	}
	f.irq(60, "0000:00:04.0", "PCI-MSI 1-edge", "eth5", "0-1")
	// A card with two ports on one device, of which one was given another name since.
	for i, name := range []string{"eth0-rx-0", "eth0-rx-1", "eth1-rx-0", "eth1-rx-1"} {
		f.irq(70+i, "0000:02:00.0", "PCI-MSI 1-edge", name, "0-1")
	}
	f.irq(80, "0000:05:00.0", "PCI-MSI 1-edge", "gve-ntfy-blk0@pci:0000:05:00.0", "0-1")
	f.irq(81, "0000:05:00.0", "PCI-MSI 1-edge", "gve-ntfy-blk1@pci:0000:05:00.0", "0-1")
	for i, name := range []string{"up-rx-0", "up-link-rx-0", "up-link2-rx-0"} { // three ports
		f.irq(90+i, "0000:06:00.0", "PCI-MSI 1-edge", name, "0-1")
	}
	// An old device with a line.
	f.irq(11, "", "IO-APIC 11-fasteoi", "eth9", "0-1")
	f.write(filepath.Join(f.Sys, "bus/pci/devices/0000:03:00.0/irq"), "11\n")
	f.write(filepath.Join(f.Sys, "bus/pci/devices/0000:04:00.0/irq"), "0\n")
	for _, c := range []struct {
		name, device string
		queues       int
		want         [][]int
	}{
		{"eth0", "0000:00:03.0", 2, [][]int{{41, 42}, {43, 44}}}, // the third queue is not in use
		{"eth5", "0000:00:04.0", 1, [][]int{{60}}},
		{"eth1", "0000:02:00.0", 2, [][]int{{72}, {73}}},
		{"up-link", "0000:06:00.0", 1, [][]int{{91}}},
		{"eth9", "0000:03:00.0", 1, [][]int{{11}}},
		{"eth8", "0000:04:00.0", 1, [][]int{nil}},
		{"eth7", "0000:05:00.0", 2, [][]int{nil, nil}},
		{"veth0", "", 2, [][]int{nil, nil}},
		{"odd", "../..", 1, [][]int{nil}},
		{"gone", "0000:09:00.0", 1, [][]int{nil}},
	} {
		list, err := f.NamedIRQs(c.name, c.device, c.queues)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := make([][]int, len(list))
		for q := range list {
			for _, irq := range list[q] {
				got[q] = append(got[q], irq.Number)
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// The kernel's word counts for more than a name.
func TestMerge(t *testing.T) {
	named := [][]IRQ{{{42, "a-tx-0"}, {41, "a-rx-0"}}, {{43, "a-rx-1"}}, {{44, "a-rx-2"}}}
	merge(named, [][]int{{41}, {44}, {43, 45}}, map[int]string{43: "a-rx-1", 44: "a-rx-2"})
	want := [][]IRQ{{{41, "a-rx-0"}, {42, "a-tx-0"}}, {{44, "a-rx-2"}}, {{43, "a-rx-1"}, {45, ""}}}
	if !reflect.DeepEqual(named, want) {
		t.Errorf("%v, want %v", named, want)
	}
}

func TestAffinity(t *testing.T) {
	f := newFake(t)
	f.irq(40, "", "PCI-MSI 1-edge", "a-rx-0", "2-5")
	if allowed, effective, err := f.Affinity(40); allowed != "2-5" || effective != "2" || err != nil {
		t.Error(allowed, effective, err)
	}
	if err := os.Remove(f.irqFile(40, "effective_affinity_list")); err != nil {
		t.Fatal(err)
	}
	if allowed, effective, err := f.Affinity(40); allowed != "2-5" || effective != "" || err != nil {
		t.Error(allowed, effective, err)
	}
	if _, _, err := f.Affinity(41); err == nil {
		t.Error("no such interrupt, no error")
	}
}

func TestRunning(t *testing.T) {
	f := newFake(t)
	f.process(77, "irqbalance", 5)
	if !f.Running("irqbalance") || f.Running("irqbal") {
		t.Error("a program is not found, or one that is not there is")
	}
}
