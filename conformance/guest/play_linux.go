package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/conformance/wire"
)

// playCase plays a case on a site of its own.
func playCase(c *wire.Case) *wire.Result {
	r := &wire.Result{Name: c.Name}
	s, err := newSite()
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer s.close()
	start := time.Now()
	if _, err := s.settle("c"); err != nil { // neighbour discovery and the like of new interfaces
		r.Error = err.Error()
		return r
	}
	for i := range c.Steps {
		o := wire.Outcome{At: time.Since(start).Microseconds()}
		if err := s.step(&c.Steps[i], &o); err != nil {
			r.Error = fmt.Sprintf("step %d, %s: %v", i+1, c.Steps[i].Text, err)
			return r
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	return r
}

// step carries one step out.
func (s *site) step(step *wire.Step, o *wire.Outcome) (err error) {
	side := "c"
	switch {
	case len(step.Frames) > 0:
		side = step.Side
		for _, f := range step.Frames {
			if _, err := unix.Write(s.wires[side], f); err != nil {
				return fmt.Errorf("%d bytes on %s: %w", len(f), side, err)
			}
		}
	case step.Wait > 0:
		time.Sleep(time.Duration(step.Wait) * time.Millisecond)
	case step.Command[0] == "ipvsadm":
		cmd := exec.Command("/usr/sbin/ipvsadm", step.Command[1:]...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			return err
		}
		o.Stdout, o.Stderr, o.Status = stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
	default:
		if err := command(step.Command); err != nil {
			return err
		}
	}
	o.Sent, err = s.settle(side)
	return err
}

// command is one that is not ipvsadm's.
func command(w []string) error {
	switch w[0] {
	case "tunable":
		return set("ipv4/vs/"+w[1], w[2])
	case "mtu":
		l, err := netlink.LinkByName(w[1])
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(w[2])
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(l, n)
	case "mark":
		return mark(w[1:])
	}
	return fmt.Errorf("there is no command %s", w[0])
}

// mark has packets of clients marked: N ADDRESS PROTO PORT.
func mark(w []string) error {
	l, err := netlink.LinkByName("c0")
	if err != nil {
		return err
	}
	q := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
	if err := netlink.QdiscAdd(q); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("ingress queue: %w", err)
	}
	n, err := strconv.ParseUint(w[0], 0, 32)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(w[3], 10, 16)
	if err != nil {
		return err
	}
	number := uint32(n)
	dst := net.ParseIP(w[1])
	proto := map[string]nl.IPProto{"tcp": nl.IPPROTO_TCP, "udp": nl.IPPROTO_UDP}[w[2]]
	f := &netlink.Flower{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.MakeHandle(0xffff, 0), Protocol: unix.ETH_P_IP},
		EthType:     unix.ETH_P_IP, DestIP: dst, DestIPMask: net.CIDRMask(32, 32), IPProto: &proto, DestPort: uint16(port),
	}
	if dst.To4() == nil {
		f.Protocol, f.EthType, f.DestIPMask = unix.ETH_P_IPV6, unix.ETH_P_IPV6, net.CIDRMask(128, 128)
	}
	edit := netlink.NewSkbEditAction()
	edit.Mark = &number
	f.Actions = []netlink.Action{edit}
	if err := netlink.FilterAdd(f); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return nil
}

// settle reads what the director sent, until the datagram comes out that was put in last.
func (s *site) settle(side string) (sent []wire.Frame, err error) {
	if _, err := unix.Write(s.wires[side], endMark(side)); err != nil {
		return nil, fmt.Errorf("end of the step: %w", err)
	}
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		// Behind the mark nothing comes any more, so the side on which it comes is read last.
		for _, from := range []string{side, other(side)} {
			for {
				n, err := unix.Read(s.wires[from], buf)
				if errors.Is(err, unix.EAGAIN) {
					break
				} else if err != nil {
					return nil, fmt.Errorf("read %s: %w", from, err)
				}
				f := buf[:n]
				if bytes.Equal(f[:6], markMAC[:]) {
					return append(sent, s.rest(side)...), nil
				}
				if !noise(f) {
					sent = append(sent, wire.Frame{Side: from, Data: bytes.Clone(f)})
				}
			}
		}
		time.Sleep(100 * time.Microsecond)
	}
	return nil, errors.New("the end of the step does not come out")
}

// rest reads what is left on the side where frames were put in.
func (s *site) rest(side string) (sent []wire.Frame) {
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(s.wires[side], buf)
		if err != nil {
			return sent
		}
		if !noise(buf[:n]) {
			sent = append(sent, wire.Frame{Side: side, Data: bytes.Clone(buf[:n])})
		}
	}
}

func other(side string) string {
	if side == "c" {
		return "r"
	}
	return "c"
}

// endMark is a datagram that the director forwards to the other side.
func endMark(side string) []byte {
	src, dst, mac := markOuter.As4(), markInner.As4(), wire.OuterMAC
	if side == "r" {
		src, dst, mac = dst, src, wire.InnerMAC
	}
	f := append(append(append([]byte{}, mac[:]...), wire.ClientMAC[:]...), 0x08, 0x00)
	ip := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0}
	ip = append(append(ip, src[:]...), dst[:]...)
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	return append(append(f, ip...), 0, 9, 0, 9, 0, 8, 0, 0)
}

// noise is what a kernel says without being asked: ARP, IGMP, neighbour discovery, MLD.
func noise(f []byte) bool {
	if len(f) < 34 {
		return true
	}
	switch binary.BigEndian.Uint16(f[12:]) {
	case unix.ETH_P_IP:
		return f[23] == unix.IPPROTO_IGMP
	case unix.ETH_P_IPV6:
		return len(f) < 55 || f[20] == 0 && f[38] == 0xff || f[20] == unix.IPPROTO_ICMPV6 && f[54] >= 133 && f[54] <= 143
	}
	return true
}
