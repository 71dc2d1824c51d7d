package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/internal/vm"
)

// Do carries out a kind of request.
type Do func(r *vm.Request) (vm.Answer, error)

// Serve tells the host that the guest is ready and carries out its requests until it asks for "off". more are kinds of
// request beside those of vm.Request, none of which may be among them.
func Serve(port io.ReadWriter, more map[string]Do) error {
	s := server{programs: map[string]*exec.Cmd{}}
	kinds := map[string]Do{"run": s.run, "start": s.start, "stop": s.stop, "kill": s.kill, "write": write, "read": read, "log": kernelLog}
	for name, f := range more {
		if kinds[name] != nil {
			return fmt.Errorf("request %q is one of every guest's", name)
		}
		kinds[name] = f
	}
	in, out := json.NewDecoder(port), json.NewEncoder(port)
	if err := out.Encode(vm.Answer{}); err != nil {
		return err
	}
	for {
		var r vm.Request
		if err := in.Decode(&r); err != nil {
			return fmt.Errorf("hear the host: %w", err)
		}
		var a vm.Answer
		f, err := kinds[r.Do], error(nil)
		switch {
		case r.Do == "off":
			return out.Encode(a)
		case f == nil:
			err = errors.New("there is no such request")
		default:
			a, err = f(&r)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("answer the host: %w", err)
		}
	}
}

// server holds the programs that were started, by name.
type server struct{ programs map[string]*exec.Cmd }

func (s *server) run(r *vm.Request) (a vm.Answer, err error) {
	cmd := exec.Command(r.Args[0], r.Args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return a, err
	}
	return vm.Answer{Data: stdout.Bytes(), Stderr: stderr.String(), Status: cmd.ProcessState.ExitCode()}, nil
}

func (s *server) start(r *vm.Request) (a vm.Answer, err error) {
	f, err := os.Create(r.Name)
	if err != nil {
		return a, err
	}
	defer f.Close()
	cmd := exec.Command(r.Args[0], r.Args[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return a, err
	}
	s.programs[r.Name] = cmd
	return a, nil
}

func (s *server) stop(r *vm.Request) (vm.Answer, error) { return s.end(r, syscall.SIGTERM) }

func (s *server) kill(r *vm.Request) (vm.Answer, error) { return s.end(r, syscall.SIGKILL) }

func (s *server) end(r *vm.Request, signal syscall.Signal) (a vm.Answer, err error) {
	cmd := s.programs[r.Name]
	if cmd == nil {
		return a, errors.New("no such program was started")
	}
	delete(s.programs, r.Name)
	if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return a, err
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return a, err
	}
	return vm.Answer{Status: cmd.ProcessState.ExitCode()}, nil
}

func write(r *vm.Request) (a vm.Answer, err error) {
	if err := os.MkdirAll(filepath.Dir(r.Name), 0o755); err != nil {
		return a, err
	}
	return a, os.WriteFile(r.Name, r.Data, 0o644)
}

func read(r *vm.Request) (a vm.Answer, err error) {
	a.Data, err = os.ReadFile(r.Name)
	return a, err
}

// kernelLog are the messages that the kernel still has.
func kernelLog(*vm.Request) (a vm.Answer, err error) {
	b := make([]byte, 1<<20)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, b)
	if err != nil {
		return a, fmt.Errorf("read the kernel's messages: %w", err)
	}
	return vm.Answer{Data: b[:n]}, nil
}
