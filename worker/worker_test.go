package worker

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"unsafe"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

var families = []struct {
	name, client, vip, server, server2 string
}{
	{"IPv4", "10.1.0.1", "10.9.0.1", "10.2.0.11", "10.2.0.12"},
	{"IPv6", "fd00:1::1", "fd00:9::1", "fd00:2::11", "fd00:2::12"},
}

func TestNAT(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			r := newRig(t, 1)
			r.service(service.TCP, f.vip, 80, service.NAT, f.server)
			for i, flags := range []uint8{packet.SYN, packet.ACK, packet.ACK | packet.PSH} {
				out := r.in(0, tcp(f.client, 1000, f.vip, 80, flags, i*100))
				if len(out) != 1 || out[0].port != 1 {
					t.Fatalf("packet %d: sent %d", i, len(out))
				}
				k, p := r.check(out[0].frame)
				if k.Dst != ip(f.server) || k.Src != ip(f.client) || k.DstPort != 80 || p.TTL != 63 || [6]byte(out[0].frame) != [6]byte{2, 0, 0, 0, 2, 0x11} {
					t.Errorf("packet %d: %v", i, k)
				}
				out = r.in(1, tcp(f.server, 80, f.client, 1000, packet.ACK|flags&packet.SYN, 10))
				if len(out) != 1 || out[0].port != 0 {
					t.Fatalf("reply %d: sent %d", i, len(out))
				}
				if k, p := r.check(out[0].frame); k.Src != ip(f.vip) || k.SrcPort != 80 || k.DstPort != 1000 || p.TTL != 63 {
					t.Errorf("reply %d: %v", i, k)
				}
			}
			if n := r.flows.Len(); n != 1 {
				t.Errorf("%d connections", n)
			}
			if s := r.counters.Sum(1); s.Conns != 1 || s.InPkts != 3 || s.OutPkts != 3 {
				t.Errorf("counted %+v", s)
			}
			if active, inactive, _ := r.slots.Get(1).Counts(); active != 1 || inactive != 0 {
				t.Errorf("active %d, inactive %d", active, inactive)
			}
			r.now += 901 * clock.Second
			r.workers[0].Round(r.now)
			r.workers[0].Round(r.now + 2*clock.Second)
			if active, inactive, _ := r.slots.Get(1).Counts(); active != 0 || inactive != 0 || r.flows.Len() != 0 {
				t.Errorf("after expiry: active %d, inactive %d, %d connections", active, inactive, r.flows.Len())
			}
			r.account()
		})
	}
}

// A connection in SYN_RECV tells whether its server has answered; begun anew, whether it has since.
func TestReplied(t *testing.T) {
	r := newRig(t, 1)
	f := families[0]
	r.service(service.TCP, f.vip, 80, service.NAT, f.server)
	replied := func(want bool) {
		t.Helper()
		k := packet.Tuple{Src: ip(f.client), Dst: ip(f.vip), SrcPort: 1000, DstPort: 80, Proto: service.TCP, Family: 4}
		ref, _ := r.flows.Lookup(&k)
		if ref == 0 {
			t.Fatal("no connection")
		}
		if c := r.flows.Conn(ref); c.State() != flow.TCPSynRecv || c.LoadFlags()&flow.FlagReplied != 0 != want {
			t.Errorf("state %d, flags %#x, want replied %v", c.State(), c.LoadFlags(), want)
		}
	}
	in := func(flags uint8) { r.in(0, tcp(f.client, 1000, f.vip, 80, flags, 0)) }
	out := func(flags uint8) { r.in(1, tcp(f.server, 80, f.client, 1000, flags, 0)) }
	in(packet.SYN)
	in(packet.SYN)
	replied(false)
	out(packet.SYN | packet.ACK)
	replied(true)
	in(packet.SYN)
	replied(true)
	out(packet.RST)
	r.tunables.ConnReuseMode = 0
	r.publish()
	in(packet.SYN)
	replied(false)
	r.account()
}

func TestTunnelFamilies(t *testing.T) {
	for _, in := range families {
		for _, out := range families {
			t.Run(in.name+" in "+out.name, func(t *testing.T) {
				r := newRig(t, 1)
				r.service(service.UDP, in.vip, 53, service.Tunnel, out.server)
				for range 2 {
					got := r.in(0, udp(in.client, 1000, in.vip, 53, 30))
					if len(got) != 1 || got[0].port != 1 {
						t.Fatalf("sent %d", len(got))
					}
					k, p := r.check(got[0].frame)
					if k.Dst != ip(out.server) || p.TTL != 63 || p.Kind != packet.OtherProto {
						t.Errorf("outer %v", k)
					}
					var inner packet.Tuple
					packet.ParseIP(got[0].frame, int(p.L4), &inner, &p)
					if inner.Dst != ip(in.vip) || inner.DstPort != 53 || p.TTL != 63 {
						t.Errorf("inner %v", inner)
					}
				}
				r.account()
			})
		}
	}
}

// A large fragmented datagram arrives in every mode, whatever worker its fragments reach.
func TestFragmentsAcrossWorkers(t *testing.T) {
	for _, f := range families {
		for _, method := range []service.Method{service.NAT, service.DR, service.Tunnel} {
			t.Run(fmt.Sprint(f.name, " ", method), func(t *testing.T) {
				r := newRig(t, 3)
				r.service(service.UDP, f.vip, 53, method, f.server)
				whole := udp(f.client, 1000, f.vip, 53, 8000)
				parts := cut(whole, 1400)
				for i := len(parts) - 1; i >= 0; i-- {
					r.give(i%3, 0, parts[i])
				}
				var got []sent
				for range 3 {
					for w := range r.workers {
						r.workers[w].Round(r.now)
						got = append(got, r.take(w)...)
					}
				}
				if len(got) < len(parts) {
					t.Fatalf("sent %d of %d fragments", len(got), len(parts))
				}
				for _, s := range got {
					if len(s.frame) > 1514 {
						t.Errorf("a frame of %d bytes", len(s.frame))
					}
				}
				if s := r.counters.Sum(1); s.InPkts != 1 || s.InBytes != uint64(len(whole)-14) {
					t.Errorf("counted %+v", s)
				}
				r.account()
			})
		}
	}
}

// cut makes fragments of at most n payload bytes (a multiple of 8).
func cut(f []byte, n int) (out [][]byte) {
	hl := 34
	if f[14]>>4 == 6 {
		hl = 54
	}
	body := f[hl:]
	for off := 0; off < len(body); off += n {
		end := min(off+n, len(body))
		p := append([]byte{}, f[:hl]...)
		more := end < len(body)
		if hl == 34 {
			v := uint16(off / 8)
			if more {
				v |= 0x2000
			}
			l := 20 + end - off
			p[16], p[17], p[18], p[19], p[20], p[21] = byte(l>>8), byte(l), 0, 7, byte(v>>8), byte(v)
			packet.SetHeaderChecksum(p[14:])
		} else {
			v := uint16(off)
			if more {
				v |= 1
			}
			l := 8 + end - off
			p[18], p[19] = byte(l>>8), byte(l)
			p = append(p, p[20], 0, byte(v>>8), byte(v), 0, 0, 0, 7)
			p[20] = 44
		}
		out = append(out, append(p, body[off:end]...))
	}
	return out
}

// A target is two cache lines, and direct routing needs the first.
func TestTargetLayout(t *testing.T) {
	var v target
	if n := unsafe.Sizeof(v); n != 128 {
		t.Errorf("target is %d bytes", n)
	}
	if o := unsafe.Offsetof(v.tagged); o >= 64 {
		t.Errorf("tagged is at %d", o)
	}
}

// A packet for a server whose MAC is not known is held, the kernel is asked once, and it goes out when the answer comes;
// if none comes, the client is told with the packet as it sent it.
func TestHold(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.TCP, "10.9.0.1", 80, service.NAT, "10.2.0.13")
	if out := r.in(0, tcp("10.1.0.1", 1000, "10.9.0.1", 80, packet.SYN, 0)); len(out) != 0 {
		t.Fatalf("sent %d", len(out))
	}
	r.in(0, tcp("10.1.0.1", 1001, "10.9.0.1", 80, packet.SYN, 0))
	if len(r.asked) != 1 || r.asked[0] != netip.MustParseAddr("10.2.0.13") {
		t.Fatalf("asked for %v", r.asked)
	}
	if err := r.net.SetNeighbor(netip.MustParseAddr("10.2.0.13"), [6]byte{2, 0, 0, 0, 2, 0x13}); err != nil {
		t.Fatal(err)
	}
	r.publish()
	r.workers[0].Round(r.now)
	out := r.take(0)
	if len(out) != 2 {
		t.Fatalf("sent %d after the answer", len(out))
	}
	if k, _ := r.check(out[1].frame); k.SrcPort != 1001 || out[1].frame[5] != 0x13 {
		t.Errorf("sent %v", k)
	}
	r.service(service.UDP, "10.9.0.1", 53, service.NAT, "10.2.0.14")
	f := udp("10.1.0.1", 1000, "10.9.0.1", 53, 10)
	r.in(0, f)
	r.now += holdTimeout
	r.workers[0].Round(r.now)
	if out = r.take(0); len(out) != 1 || out[0].port != 0 {
		t.Fatalf("sent %d after the time was up", len(out))
	}
	g := out[0].frame
	if g[34] != 3 || g[35] != 1 {
		t.Errorf("ICMP type %d code %d", g[34], g[35])
	}
	quoted := g[42:]
	packet.DecrementTTL(f[14:])
	if string(quoted) != string(f[14:]) {
		t.Errorf("quoted %x\nwant   %x", quoted, f[14:])
	}
	r.reason(perf.NoNeighbor, 1)
	r.account()
}

// With both rings full, what does not fit is dropped and counted, and no frame is lost.
func TestOverload(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.TCP, "10.9.0.1", 80, service.DR, "10.2.0.11")
	sentAll := 0
	for i := range 300 {
		if i%50 == 49 {
			sentAll += len(r.take(0)) // completions come late
		}
		r.give(0, 0, tcp("10.1.0.1", uint16(1000+i), "10.9.0.1", 80, packet.SYN, 0))
		r.workers[0].Round(r.now)
	}
	sentAll += len(r.take(0))
	r.workers[0].Round(r.now)
	if dropped := int(r.workers[0].stats.Reasons[perf.TXFull].Load()); sentAll+dropped != 300 {
		t.Errorf("%d sent, %d dropped of 300", sentAll, dropped)
	}
	r.account()
}

// A full table refuses new connections and keeps old ones.
func TestTableFull(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.TCP, "10.9.0.1", 80, service.DR, "10.2.0.11")
	n := 0
	for i := range 5000 {
		n += len(r.in(0, tcp("10.1.0.1", uint16(1000+i), "10.9.0.1", 80, packet.SYN, 0)))
	}
	refused := r.workers[0].stats.Reasons[perf.TableFull].Load()
	if n > 4096 || n+int(refused) != 5000 || r.workers[0].stats.NoRoom.Load() != refused {
		t.Errorf("%d connections, %d refused", n, refused)
	}
	if len(r.in(0, tcp("10.1.0.1", 1000, "10.9.0.1", 80, packet.ACK, 0))) != 1 {
		t.Error("an old connection no longer flows")
	}
	if s := r.counters.Sum(1); s.Conns != uint64(n) {
		t.Errorf("counted %d connections of %d", s.Conns, n)
	}
	r.account()
}

// The established packet allocates nothing, and neither does a new connection.
func TestAllocs(t *testing.T) {
	for _, f := range families {
		for _, method := range []service.Method{service.NAT, service.DR, service.Tunnel} {
			for _, proto := range []uint8{service.TCP, service.UDP} {
				r := newRig(t, 1)
				r.service(proto, f.vip, 80, method, f.server, f.server2)
				build := func(port uint16, flags uint8) []byte {
					if proto == service.TCP {
						return tcp(f.client, port, f.vip, 80, flags, 20)
					}
					return udp(f.client, port, f.vip, 80, 20)
				}
				r.in(0, build(999, packet.SYN))
				r.in(0, build(999, packet.ACK))
				est, reply := build(999, packet.ACK), tcp(f.server2, 80, f.client, 999, packet.ACK, 0)
				if proto == service.UDP {
					reply = udp(f.server2, 80, f.client, 999, 0)
				}
				r.in(1, reply)
				run := func(port int, frames ...[]byte) float64 {
					i := 0
					return testing.AllocsPerRun(50, func() {
						r.place(port, frames[i%len(frames)])
						i++
						r.workers[0].Round(r.now)
						r.discard()
					})
				}
				var fresh [][]byte
				for i := range 60 {
					fresh = append(fresh, build(uint16(2000+i), packet.SYN))
				}
				if n := run(0, est); n != 0 {
					t.Errorf("%s %v %d: an established packet allocates %v times", f.name, method, proto, n)
				}
				if n := run(0, fresh...); n != 0 {
					t.Errorf("%s %v %d: a new connection allocates %v times", f.name, method, proto, n)
				}
				if method == service.NAT {
					if n := run(1, reply); n != 0 {
						t.Errorf("%s %d: a reply allocates %v times", f.name, proto, n)
					}
				}
			}
		}
	}
}

// place and discard are give and take without allocation.
func (r *rig) place(port int, f []byte) {
	l := &r.lanes[0]
	var a [1]uint64
	if l.kernels[port].Drain(a[:]) != 1 {
		r.t.Fatal("the fill ring is empty")
	}
	at := a[0]&^(ring.FrameSize-1) + ring.Headroom
	copy(l.frames.Mem[at:], f)
	var d [1]ring.Desc
	d[0] = ring.Desc{Addr: at, Len: uint32(len(f))}
	l.kernels[port].Give(d[:])
}

func (r *rig) discard() {
	var d [8]ring.Desc
	for _, k := range r.lanes[0].kernels {
		for n := k.Take(d[:]); n > 0; n = k.Take(d[:]) {
			for i := range n {
				var a [1]uint64
				a[0] = d[i].Addr
				k.Feed(a[:])
			}
		}
	}
}

// Two workers share everything while the control path adds and removes a server: run with -race. Afterwards nothing is
// left and the counts are zero.
func TestWorkersShare(t *testing.T) {
	r := newRig(t, 2)
	id := r.service(service.TCP, "10.9.0.1", 80, service.NAT, "10.2.0.11")
	other := service.ServerSpec{ServerID: service.ServerID{Addr: netip.MustParseAddr("10.2.0.12"), Port: 80}, Method: service.NAT, Weight: 1}
	var wg sync.WaitGroup
	for w := range r.workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			l := &r.lanes[w]
			var d [64]ring.Desc
			var a [1]uint64
			for i := range 4000 {
				f := tcp("10.1.0.1", uint16(1000+i%200), "10.9.0.1", 80, []uint8{packet.SYN, packet.ACK, packet.FIN | packet.ACK, packet.RST}[i/200%4], 0)
				port := 0
				if i%3 == 2 {
					f, port = tcp("10.2.0.11", 80, "10.1.0.1", uint16(1000+i%200), packet.ACK, 0), 1
				}
				if l.kernels[port].Drain(a[:]) == 1 {
					at := a[0]&^(ring.FrameSize-1) + ring.Headroom
					copy(l.frames.Mem[at:], f)
					l.kernels[port].Give([]ring.Desc{{Addr: at, Len: uint32(len(f))}})
				}
				r.workers[w].Round(r.now + clock.Time(i)*clock.Millisecond)
				for _, k := range l.kernels {
					n := k.Take(d[:])
					for _, v := range d[:n] {
						k.Feed([]uint64{v.Addr})
					}
				}
			}
		}()
	}
	for range 50 {
		if err := r.table.AddServer(id, other); err != nil {
			t.Error(err)
		}
		r.publish()
		if err := r.table.DeleteServer(id, other.ServerID); err != nil {
			t.Error(err)
		}
		r.publish()
	}
	wg.Wait()
	r.now += 2000 * clock.Second
	for i := range 10 {
		for w := range r.workers {
			r.workers[w].Round(r.now + clock.Time(i)*clock.Second)
		}
	}
	if n := r.flows.Len(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	for n := 1; n <= r.slots.Capacity(); n++ {
		if v := r.slots.Get(uint32(n)); v != nil {
			if a, i, p := v.Counts(); a != 0 || i != 0 || p != 0 {
				t.Errorf("server %v: counts %d %d %d", v.Addr, a, i, p)
			}
		}
	}
}
