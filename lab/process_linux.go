package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endPatience is how long a process may take to end after SIGTERM before it gets SIGKILL.
const endPatience = 5 * time.Second

// Process is a program that the site started in one of its namespaces.
type Process struct {
	What string // "nginx in web1": for messages
	Log  string // the file that holds what it printed

	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // how, after ended
}

// Start runs a program in a node's namespace until Stop or Close. What it prints goes to a file in the site's directory.
func (s *Site) Start(node, what string, argv ...string) (*Process, error) {
	p, err := StartIn(s.Plan.namespace(node), what+" in "+node, filepath.Join(s.Dir, node+"-"+what+".log"), argv...)
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return p, err
}

// StartIn runs a program in a network namespace until Stop. What it prints is added to the file log.
func StartIn(namespace, what, log string, argv ...string) (*Process, error) {
	p := &Process{What: what, Log: log, ended: make(chan struct{})}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C at the terminal is the lab's own to answer
	if err := In(namespace, p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", what, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Run runs a program in a node's namespace to its end and returns what it printed on standard output.
func (s *Site) Run(node string, argv ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := In(s.Plan.namespace(node), cmd.Start); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return stdout.String(), fmt.Errorf("%s in %s: %w: %s", strings.Join(argv, " "), node, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Pid is the process's number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// ExitCode waits for the process to end and returns its exit status, -1 if a signal ended it.
func (p *Process) ExitCode() int {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends the process a signal.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop ends the process (SIGTERM, after some seconds SIGKILL) and waits for it. Having to be killed is an error, the exit
// status that SIGTERM led to is not.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(endPatience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed; it printed:\n%s", p.What, endPatience, p.Output())
	}
}

// Output returns what the process printed.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Await asks ready, again and again, until it returns nil. It gives up when the deadline passes or the process ends.
func (p *Process) Await(deadline time.Duration, ready func() error) error {
	limit := time.After(deadline)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended (%v); it printed:\n%s", p.What, p.err, p.Output())
		case <-limit:
			return fmt.Errorf("%s was not ready within %v: %w; it printed:\n%s", p.What, deadline, err, p.Output())
		case <-tick.C:
		}
	}
}

// Enter makes the calling process the program argv, in the named namespace with /sys showing that namespace's
// interfaces, as `ip netns exec` does. It returns only on failure.
func Enter(namespace string, argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return In(namespace, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("unshare mounts: %w", err)
		}
		if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount /sys: %w", err)
		}
		if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
			return fmt.Errorf("mount /sys: %w", err)
		}
		return unix.Exec(path, argv, os.Environ())
	})
}

// endProcessesIn ends every process whose network namespace is the named one, whoever started it, but the caller.
func endProcessesIn(namespace string) error {
	pids, err := processesIn(namespace)
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		errs = append(errs, endProcess(pid))
	}
	return errors.Join(errs...)
}

// processesIn lists the processes whose network namespace is the named one, without the caller.
func processesIn(namespace string) ([]int, error) {
	var want unix.Stat_t
	err := unix.Stat(filepath.Join(netnsDir, namespace), &want)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", namespace, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var have unix.Stat_t
		if unix.Stat(filepath.Join("/proc", e.Name(), "ns/net"), &have) == nil && have.Ino == want.Ino && have.Dev == want.Dev {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// endProcess sends SIGTERM, waits, and kills what is still there. A pidfd is sure not to be somebody else's by then.
func endProcess(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(endPatience.Milliseconds()))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n > 0 {
				return nil
			}
			break
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}
