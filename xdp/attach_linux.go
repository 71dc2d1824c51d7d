package xdp

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Attachment is the program's presence on one interface. Its methods may be called by any goroutine.
type Attachment struct {
	programs *Programs
	ifc      Interface
	mode     Mode
	program  *ebpf.Program // the form that is attached
	base     uint32        // of its queues in the XSK map
	macs     map[[6]byte]bool
	lock     int // keeps other directors off the interface; ends with the process
}

// Attach puts the program on an interface of the calling thread's network namespace. It is attached by netlink, so it
// stays when the process dies, and goes on dropping what a director would take (docs/decisions/0010). A program that a
// dead director left is replaced, without a gap if the mode is the same; any other program is an error (ErrForeign), and
// so is a living director (ErrInUse). On failure nothing is changed.
func (p *Programs) Attach(ifc Interface, mode Mode) (_ *Attachment, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("attach XDP program to %s in %s mode: %w", ifc.Name, mode, err)
		}
	}()
	base, err := p.reserve(ifc.Queues)
	if err != nil {
		return nil, err
	}
	a := &Attachment{programs: p, ifc: ifc, mode: mode, base: base, macs: map[[6]byte]bool{}, lock: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.forget())
		}
	}()
	if a.lock, err = lockInterface(ifc.Index); err != nil {
		return nil, err
	}
	if err := p.setMACs(ifc, a.base, a.macs, setOf(ifc.MACs)); err != nil {
		return nil, err
	}
	var refused []error
	for _, form := range p.forms(ifc.Large) {
		if err = attach(ifc.Index, form.FD(), mode); err == nil {
			a.program = form
			break
		}
		if refused = addNew(refused, err); !errors.Is(err, ErrNotSupported) {
			break
		}
	}
	if err != nil {
		if ifc.Large && p.frags == nil {
			refused = append(refused, fmt.Errorf("a program for packets of several buffers needs Linux 5.18 (%w)", p.noFrags))
		}
		return nil, errors.Join(refused...)
	}
	p.attached = append(p.attached, a)
	return a, nil
}

// addNew adds an error unless it says the same as the last.
func addNew(list []error, err error) []error {
	if n := len(list); n > 0 && list[n-1].Error() == err.Error() {
		return list
	}
	return append(list, err)
}

// attach puts program fd on an interface, in place of one that a dead director left.
func attach(index, fd int, mode Mode) error {
	left, leftMode, err := attachedProgram(index)
	if err != nil {
		return err
	}
	if left == nil {
		return explainAttach(setXDP(index, fd, 0, modeFlag(mode)|unix.XDP_FLAGS_UPDATE_IF_NOEXIST))
	}
	defer left.Close()
	if leftMode == mode {
		return explainAttach(setXDP(index, fd, left.FD(), modeFlag(mode)|unix.XDP_FLAGS_REPLACE))
	}
	if err := setXDP(index, -1, left.FD(), modeFlag(leftMode)|unix.XDP_FLAGS_REPLACE); err != nil {
		return fmt.Errorf("detach the program that a former director left: %w", explainAttach(err))
	}
	return explainAttach(setXDP(index, fd, 0, modeFlag(mode)|unix.XDP_FLAGS_UPDATE_IF_NOEXIST))
}

// attachedProgram is our own program that is on the interface already, and its mode; nil if there is none. Somebody
// else's is ErrForeign.
func attachedProgram(index int) (*ebpf.Program, Mode, error) {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, 0, fmt.Errorf("%w (%w)", ErrNoInterface, err)
	}
	x := link.Attrs().Xdp
	if x == nil || !x.Attached {
		return nil, 0, nil
	}
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(x.ProgId))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: its id is %d (%w)", ErrForeign, x.ProgId, err)
	}
	info, err := prog.Info()
	if err == nil && info.Name == programName && (x.AttachMode == attachedNative || x.AttachMode == attachedGeneric) {
		mode := Native
		if x.AttachMode == attachedGeneric {
			mode = Generic
		}
		return prog, mode, nil
	}
	name := "?"
	if err == nil {
		name = info.Name
	}
	return nil, 0, errors.Join(fmt.Errorf("%w: %q, id %d; if nobody needs it: `ip link set dev %s xdp off`", ErrForeign, name,
		x.ProgId, link.Attrs().Name), prog.Close())
}

// Values of IFLA_XDP_ATTACHED (linux/if_link.h).
const (
	attachedNative  = 1
	attachedGeneric = 2
)

func modeFlag(m Mode) uint32 {
	if m == Generic {
		return unix.XDP_FLAGS_SKB_MODE
	}
	return unix.XDP_FLAGS_DRV_MODE
}

// explainAttach adds what to do to the kernel's answer.
func explainAttach(err error) error {
	switch {
	case err == nil:
		return nil
	case isPermission(err):
		return fmt.Errorf("%w (%w)", ErrPermission, err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: see `bpftool net` (%w)", ErrForeign, err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENOMEM):
		if said(err) {
			return fmt.Errorf("%w: %w", ErrNotSupported, err)
		}
		return fmt.Errorf("%w: too large an MTU, LRO or too few queues may be the cause too, see `dmesg` (%w)", ErrNotSupported, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w (%w)", ErrNoInterface, err)
	}
	return err
}

// said tells whether the driver said more than an error number.
func said(err error) bool {
	var errno unix.Errno
	return errors.As(err, &errno) && err.Error() != errno.Error()
}

func isPermission(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }

// Mode is where the program runs.
func (a *Attachment) Mode() Mode { return a.mode }

// Frags tells whether the program is in the form that takes packets of several buffers.
func (a *Attachment) Frags() bool { return a.program == a.programs.frags }

// Interface is what Attach was given.
func (a *Attachment) Interface() Interface { return a.ifc }

// SetSocket gives the packets of a queue to an AF_XDP socket that is bound to it. The kernel forgets the socket when it
// is closed.
func (a *Attachment) SetSocket(queue, fd int) error {
	if queue < 0 || queue >= a.ifc.Queues {
		return fmt.Errorf("socket for %s queue %d: it has queues 0 to %d", a.ifc.Name, queue, a.ifc.Queues-1)
	}
	if err := a.programs.objects.Xsks.Put(a.base+uint32(queue), uint32(fd)); err != nil {
		return fmt.Errorf("socket for %s queue %d: %w", a.ifc.Name, queue, err)
	}
	return nil
}

// ClearSocket lets the packets of a queue be dropped.
func (a *Attachment) ClearSocket(queue int) error {
	err := a.programs.objects.Xsks.Delete(a.base + uint32(queue))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("clear socket of %s queue %d: %w", a.ifc.Name, queue, err)
	}
	return nil
}

// SetMACs changes the addresses that the interface's packets are taken for.
func (a *Attachment) SetMACs(macs [][6]byte) error {
	a.programs.mu.Lock()
	defer a.programs.mu.Unlock()
	return a.programs.setMACs(a.ifc, a.base, a.macs, setOf(macs))
}

// Detach takes the program off the interface, which is then as if no director had been there. A program that somebody put
// in its place stays.
func (a *Attachment) Detach() error {
	a.programs.mu.Lock()
	defer a.programs.mu.Unlock()
	err := setXDP(a.ifc.Index, -1, a.program.FD(), modeFlag(a.mode)|unix.XDP_FLAGS_REPLACE)
	if errors.Is(err, unix.ENODEV) { // the interface is gone, and the program with it
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("detach XDP program from %s: %w", a.ifc.Name, explainAttach(err))
	}
	return errors.Join(err, a.forget())
}

// forget gives back everything but the program's place on the interface. The caller holds programs.mu.
func (a *Attachment) forget() error {
	errs := []error{a.programs.setMACs(a.ifc, a.base, a.macs, nil)}
	for q := range a.ifc.Queues {
		errs = append(errs, a.ClearSocket(q))
	}
	a.programs.attached = slices.DeleteFunc(a.programs.attached, func(o *Attachment) bool { return o == a })
	if a.lock >= 0 {
		errs = append(errs, unix.Close(a.lock))
		a.lock = -1
	}
	return errors.Join(errs...)
}

func setOf(macs [][6]byte) map[[6]byte]bool {
	s := make(map[[6]byte]bool, len(macs))
	for _, m := range macs {
		s[m] = true
	}
	return s
}
