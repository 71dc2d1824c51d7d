package guest

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastlb/fastlb/internal/vm"
)

const patience = 10 * time.Second

// client asks a server in this process.
func client(t *testing.T, more map[string]Do) *vm.Client {
	t.Helper()
	host, port := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- Serve(port, more) }()
	c := vm.NewClient(host)
	if err := c.Ready(patience); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.Ask(patience, vm.Request{Do: "off"}); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
		host.Close()
	})
	return c
}

func TestServe(t *testing.T) {
	c := client(t, map[string]Do{"greet": func(r *vm.Request) (vm.Answer, error) {
		return vm.Answer{Data: append([]byte("hello "), r.Data...)}, nil
	}})
	file := filepath.Join(t.TempDir(), "below", "file")
	if _, err := c.Ask(patience, vm.Request{Do: "write", Name: file, Data: []byte("content")}); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Ask(patience, vm.Request{Do: "read", Name: file}); err != nil || string(a.Data) != "content" {
		t.Errorf("read: %q, %v", a.Data, err)
	}
	if out, err := c.Run(patience, "cat", file); err != nil || string(out) != "content" {
		t.Errorf("run: %q, %v", out, err)
	}
	if _, err := c.Run(patience, "cat", file+"-not"); err == nil || !strings.Contains(err.Error(), "status 1") || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("a program that fails: %v", err)
	}
	if _, err := c.Run(patience, "there-is-no-such-program"); err == nil {
		t.Error("a program that is not there is run")
	}
	if a, err := c.Ask(patience, vm.Request{Do: "greet", Data: []byte("host")}); err != nil || string(a.Data) != "hello host" {
		t.Errorf("a request of the program's own: %q, %v", a.Data, err)
	}
	if _, err := c.Ask(patience, vm.Request{Do: "dance"}); err == nil || !strings.Contains(err.Error(), "no such request") {
		t.Errorf("an unknown request: %v", err)
	}
}

func TestServeStartsAndStops(t *testing.T) {
	c := client(t, nil)
	out := filepath.Join(t.TempDir(), "out")
	if _, err := c.Ask(patience, vm.Request{Do: "start", Name: out, Args: []string{"sh", "-c", "echo begun; exec sleep 1000"}}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; {
		a, err := c.Ask(patience, vm.Request{Do: "read", Name: out})
		if err != nil {
			t.Fatal(err)
		}
		if string(a.Data) == "begun\n" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the program's output is %q", a.Data)
		}
	}
	if a, err := c.Ask(patience, vm.Request{Do: "stop", Name: out}); err != nil || a.Status != -1 {
		t.Errorf("SIGTERM ended sleep with %d, %v", a.Status, err)
	}
	if _, err := c.Ask(patience, vm.Request{Do: "stop", Name: out}); err == nil {
		t.Error("what was stopped can be stopped again")
	}
	if _, err := c.Ask(patience, vm.Request{Do: "start", Name: out, Args: []string{"sh", "-c", "trap '' TERM; exec sleep 1000"}}); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Ask(patience, vm.Request{Do: "kill", Name: out}); err != nil || a.Status != -1 {
		t.Errorf("SIGKILL ended sleep with %d, %v", a.Status, err)
	}
}

// Requests that every guest understands are not a program's to change: hosts rely on them.
func TestServeKeepsItsOwn(t *testing.T) {
	err := Serve(struct{ io.ReadWriter }{}, map[string]Do{"kill": func(*vm.Request) (vm.Answer, error) { return vm.Answer{}, nil }})
	if err == nil || !strings.Contains(err.Error(), `"kill"`) {
		t.Errorf("a guest with its own kill: %v", err)
	}
}
