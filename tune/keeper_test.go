package tune

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// value is a setting that is a variable; broken ones cannot be written.
type value struct {
	key, text string
	broken    error
}

func (v *value) Key() string           { return v.key }
func (v *value) Read() (string, error) { return v.text, nil }
func (v *value) Write(s string) error {
	if v.broken == nil {
		v.text = s
	}
	return v.broken
}

func keeper(t *testing.T, f *fake, path string) *Keeper {
	t.Helper()
	k, err := f.OpenKeeper(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func change(t *testing.T, k *Keeper, list ...Change) []error {
	t.Helper()
	failed, err := k.Change(list)
	if err != nil {
		t.Fatal(err)
	}
	return failed
}

func gone(t *testing.T, path string) {
	t.Helper()
	left, err := filepath.Glob(path + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("%v remain, %v", left, err)
	}
}

func TestKeeper(t *testing.T) {
	f := newFake(t)
	path := filepath.Join(t.TempDir(), "run/flows.settings")
	k := keeper(t, f, path)
	a, b, c := &value{key: "a", text: "0-1"}, &value{key: "b", text: "2"}, &value{key: "c", text: "0-1"}
	stuck := &value{key: "stuck", text: "0", broken: errors.New("managed")}
	failed := change(t, k, Change{a, "2", ""}, Change{b, "2", ""}, Change{c, "3", ""}, Change{stuck, "1", ""})
	if a.text != "2" || b.text != "2" || c.text != "3" || failed[0] != nil || failed[1] != nil || failed[2] != nil || failed[3] != stuck.broken {
		t.Error(a, b, c, failed)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), `{"key":"a","found":"0-1","set":"2"}`) || strings.Contains(string(text), `"b"`) || strings.Contains(string(text), "stuck") {
		t.Errorf("written down: %s, %v", text, err)
	}
	d := &value{key: "d", text: "8"} // a driver changed it, after it was read as 4
	if change(t, k, Change{d, "2", "4"}); d.text != "2" {
		t.Error(d)
	}
	if change(t, k, Change{a, "1", ""}); a.text != "1" {
		t.Error("a second change", a)
	}
	c.text = "7" // somebody else's doing
	if err := k.Restore(); err != nil {
		t.Error(err)
	}
	if a.text != "0-1" || b.text != "2" || c.text != "7" || d.text != "4" {
		t.Error("put back:", a, b, c, d)
	}
	gone(t, path)
}

// After a process was killed, its settings are still not the machine's own.
func TestKeeperAfterCrash(t *testing.T) {
	f := newFake(t)
	path := filepath.Join(t.TempDir(), "flows.settings")
	f.process(77, "fastlb", 50)
	dead := keeper(t, f, path)
	dead.id.PID, dead.id.Start = 77, 50
	a, b, c, d := &value{key: "a", text: "0-1"}, &value{key: "b", text: "0-1"}, &value{key: "c", text: "0-1"}, &value{key: "d", text: "0-1"}
	lost, stuck := &value{key: "lost", text: "0-1"}, &value{key: "stuck", text: "0-1"}
	change(t, dead, Change{a, "2", ""}, Change{b, "3", ""}, Change{c, "4", ""}, Change{d, "5", ""}, Change{lost, "6", ""}, Change{stuck, "7", ""})

	if _, err := f.OpenKeeper(path); !errors.Is(err, ErrKept) || !strings.Contains(err.Error(), "77") {
		t.Errorf("the file of a process that lives: %v", err)
	}
	f.process(77, "other", 51) // the number is another's now

	k := keeper(t, f, path)
	b.text = "9" // somebody changed it after the crash: that is what counts
	stuck.broken = errors.New("managed")
	for s, want := range map[*value]string{a: "0-1", b: "9", {key: "new", text: "5"}: "5"} {
		if got, err := k.Original(s); got != want || err != nil {
			t.Errorf("%s was %s, want %s, %v", s.key, got, want, err)
		}
	}
	change(t, k, Change{a, "2", ""}, Change{b, "3", ""}, Change{stuck, "8", ""})
	if got, err := k.Original(a); got != "0-1" || err != nil {
		t.Errorf("a was %s, %v", got, err)
	}
	byKey := map[string]Setting{"a": a, "b": b, "c": c, "d": d}
	d.text = "8"
	n, err := k.Leftovers(func(key string) Setting { return byKey[key] })
	if n != 1 || err != nil || c.text != "0-1" || d.text != "8" {
		t.Errorf("%d put back, %v: %v %v", n, err, c, d)
	}
	stuck.broken = nil
	if err := k.Restore(); err != nil {
		t.Error(err)
	}
	if a.text != "0-1" || b.text != "9" || stuck.text != "0-1" {
		t.Error("put back:", a, b, stuck)
	}
	gone(t, path)
}

// A machine that was started anew has none of what an earlier one was set to.
func TestKeeperAfterBoot(t *testing.T) {
	f := newFake(t)
	path := filepath.Join(t.TempDir(), "flows.settings")
	a := &value{key: "a", text: "0-1"}
	change(t, keeper(t, f, path), Change{a, "2", ""})
	f.write(filepath.Join(f.Proc, "sys/kernel/random/boot_id"), "boot two\n")
	k := keeper(t, f, path)
	change(t, k, Change{a, "3", ""})
	if err := k.Restore(); err != nil || a.text != "2" {
		t.Error(a, err)
	}
}

// Without a place to write down what was there, nothing is changed.
func TestKeeperCannotWrite(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	f.write(filepath.Join(dir, "file"), "")
	k := keeper(t, f, filepath.Join(dir, "flows.settings"))
	k.path = filepath.Join(dir, "file", "flows.settings") // below a file
	a := &value{key: "a", text: "0-1"}
	if _, err := k.Change([]Change{{a, "2", ""}}); err == nil || a.text != "0-1" {
		t.Error(a, err)
	}
	k.path = filepath.Join(dir, "flows.settings")
	if err := k.Restore(); err != nil || a.text != "0-1" {
		t.Error(a, err)
	}
	f.write(k.path, "nonsense")
	if _, err := f.OpenKeeper(k.path); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("nonsense: %v", err)
	}
}

// What could not be put back stays written down, and the next process tries again.
func TestKeeperCannotPutBack(t *testing.T) {
	f := newFake(t)
	path := filepath.Join(t.TempDir(), "flows.settings")
	a, b := &value{key: "a", text: "0-1"}, &value{key: "b", text: "0-1"}
	k := keeper(t, f, path)
	change(t, k, Change{a, "2", ""}, Change{b, "3", ""})
	a.broken = errors.New("busy")
	if err := k.Restore(); !errors.Is(err, a.broken) || !strings.Contains(err.Error(), "put back a = 0-1") || b.text != "0-1" {
		t.Error(b, err)
	}
	a.broken = nil
	next := keeper(t, f, path)
	if n, err := next.Leftovers(func(key string) Setting { return map[string]Setting{"a": a, "b": b}[key] }); n != 1 || err != nil || a.text != "0-1" {
		t.Errorf("%d put back, %v: %v", n, err, a)
	}
	gone(t, path)
}

// An empty file is what a loss of power may leave of one that was never on the disk.
func TestKeeperAfterPowerLoss(t *testing.T) {
	f := newFake(t)
	path := filepath.Join(t.TempDir(), "flows.settings")
	f.write(path, "")
	a := &value{key: "a", text: "0-1"}
	k := keeper(t, f, path)
	change(t, k, Change{a, "2", ""})
	if err := k.Restore(); err != nil || a.text != "0-1" {
		t.Error(a, err)
	}
	gone(t, path)
}

// The affinity of an interrupt goes through the files of /proc/irq, by the kernel's words.
func TestAffinitySetting(t *testing.T) {
	f := newFake(t)
	f.irq(41, "0000:00:03.0", "PCI-MSI 1-edge", "virtio0-input.0", "0-1")
	path := filepath.Join(t.TempDir(), "flows.settings")
	k := keeper(t, f, path)
	s := f.AffinityOf(IRQ{41, "virtio0-input.0"})
	change(t, k, Change{s, "1", ""})
	if now, _, err := f.Affinity(41); now != "1" || err != nil {
		t.Error(now, err)
	}
	if again := f.openAffinity("41", "virtio0-input.0"); again == nil || again.Key() != s.Key() {
		t.Errorf("opened by its key: %v", again)
	}
	if other := f.openAffinity("41", "nvme0q1"); other != nil {
		t.Errorf("the number is another's, and %v", other)
	}
	if err := k.Restore(); err != nil {
		t.Error(err)
	}
	if now, _, err := f.Affinity(41); now != "0-1" || err != nil {
		t.Error(now, err)
	}
	change(t, k, Change{s, "1", ""})
	if err := os.RemoveAll(filepath.Join(f.Proc, "irq/41")); err != nil {
		t.Fatal(err)
	}
	if err := k.Restore(); err != nil {
		t.Errorf("the interrupt is gone: %v", err)
	}
	if failed := change(t, k, Change{s, "1", ""}); failed[0] == nil {
		t.Error("an interrupt that is not there was moved")
	}
}
