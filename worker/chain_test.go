package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// newChainRig is newRig with one worker whose ports carry packets of so many frames.
func newChainRig(t *testing.T, segments int) *rig {
	t.Helper()
	r := newRig(t, 1)
	l := &r.lanes[0]
	*l = rigLane{frames: ring.NewFrames(make([]byte, 512*ring.FrameSize)), spare: make([][]uint64, 2)}
	var ports []Port
	for range 2 {
		s, k, err := ring.NewMemory(l.frames, ring.Sizes{Fill: 64, Completion: 64, RX: 64, TX: 64})
		if err != nil {
			t.Fatal(err)
		}
		s.KeepChains()
		ports, l.kernels = append(ports, s), append(l.kernels, k)
	}
	var err error
	r.workers[0], err = New(Config{
		Frames: l.frames, Ports: ports, Flows: r.flows, Slots: r.slots, Counters: r.counters, Snapshots: &r.snaps, Pass: r, Ask: r,
		Segments: []int{segments, segments},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) mtu(name string, mtu uint32) {
	r.t.Helper()
	if err := r.net.SetMTU(name, mtu); err != nil {
		r.t.Fatal(err)
	}
	r.publish()
}

// giveCut puts a frame on port's RX ring in pieces of the given sizes, the last one taking the rest. It returns the
// descriptors.
func (r *rig) giveCut(port int, f []byte, sizes []int) (d []ring.Desc) {
	r.t.Helper()
	l := &r.lanes[0]
	for len(f) > 0 {
		n := len(f)
		if len(sizes) > 0 {
			n, sizes = min(n, sizes[0]), sizes[1:]
		}
		n = min(n, ring.MaxPacket)
		if len(l.spare[port]) == 0 {
			var a [64]uint64
			l.spare[port] = append(l.spare[port], a[:l.kernels[port].Drain(a[:])]...)
		}
		at := l.spare[port][0]&^(ring.FrameSize-1) + ring.Headroom
		l.spare[port] = l.spare[port][1:]
		copy(l.frames.Mem[at:], f[:n])
		f = f[n:]
		d = append(d, ring.Desc{Addr: at, Len: uint32(n), Options: ring.Continued})
	}
	d[len(d)-1].Options = 0
	if l.kernels[port].Give(d) != len(d) {
		r.t.Fatal("the RX ring is full")
	}
	return d
}

// takeWhole is take with chains put together; descs are what stood on the TX rings.
func (r *rig) takeWhole() (out []sent, descs []ring.Desc) {
	r.t.Helper()
	l := &r.lanes[0]
	for port, k := range l.kernels {
		var d [64]ring.Desc
		var long []byte
		n := k.Take(d[:])
		for _, v := range d[:n] {
			long = append(long, l.frames.Bytes(v)...)
			if v.Options&ring.Continued == 0 {
				out = append(out, sent{port, long})
				long = nil
			}
			k.Feed([]uint64{v.Addr})
		}
		if long != nil {
			r.t.Error("a packet has no end")
		}
		descs = append(descs, d[:n]...)
	}
	return out, descs
}

func TestChainGoesOnInItsFrames(t *testing.T) {
	const size = 8900
	vip := map[bool]string{false: "10.8.0.100", true: "fd00:8::100"}
	client := map[bool]string{false: "192.0.2.7", true: "2001:db8::7"}
	server := map[bool]string{false: "10.2.0.11", true: "fd00:2::11"}
	for _, v6 := range []bool{false, true} {
		for _, method := range []service.Method{service.NAT, service.DR, service.Tunnel} {
			for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoTCP} {
				t.Run(fmt.Sprintf("%v/ipv6=%v/proto=%d", method, v6, proto), func(t *testing.T) {
					r := newChainRig(t, ring.MaxSegments)
					r.mtu("c0", 9000)
					r.mtu("r0", 9000)
					r.service(proto, vip[v6], 80, method, server[v6])
					f := udp(client[v6], 4000, vip[v6], 80, size)
					first := udp(client[v6], 4000, vip[v6], 80, 10)
					if proto == packet.ProtoTCP {
						f, first = tcp(client[v6], 4000, vip[v6], 80, packet.ACK, size), tcp(client[v6], 4000, vip[v6], 80, packet.SYN, 0)
					}
					if out := r.in(0, first); len(out) != 1 {
						t.Fatalf("the first packet: %d sent", len(out))
					}
					in := r.giveCut(0, f, nil)
					r.workers[0].Round(r.now)
					out, descs := r.takeWhole()
					if len(out) != 1 || len(descs) != len(in) {
						t.Fatalf("%d packets in %d frames were sent, want one in %d", len(out), len(descs), len(in))
					}
					for i := range in {
						if frameBase(in[i].Addr) != frameBase(descs[i].Addr) {
							t.Errorf("piece %d was copied into another frame", i)
						}
					}
					got := out[0].frame
					if !bytes.HasSuffix(got, f[len(f)-size:]) {
						t.Error("the payload is another one")
					}
					overhead := 0
					if method == service.Tunnel {
						overhead = 20
						if v6 {
							overhead = 40
						}
					}
					if len(got) != len(f)+overhead {
						t.Errorf("sent %d bytes, want %d", len(got), len(f)+overhead)
					}
					if _, p := r.check(got); int(p.Len) != len(got)-14 {
						t.Errorf("the IP header says %d bytes of %d", p.Len, len(got)-14)
					}
					if n := r.workers[0].stats.Ports[1].TXPackets.Load(); n != 2 {
						t.Errorf("%d packets are counted as sent, want 2", n)
					}
					if n := r.workers[0].stats.Ports[0].RXPackets.Load(); n != 2 {
						t.Errorf("%d packets are counted as received, want 2", n)
					}
					r.account()
				})
			}
		}
	}
}

// chainCase is one random packet for a director with all methods.
func chainCase(rng *rand.Rand) (port int, f []byte) {
	src, six := fmt.Sprintf("192.0.2.%d", 1+rng.IntN(3)), rng.IntN(3) == 0
	dst := fmt.Sprintf("10.8.0.%d", 100+rng.IntN(7))
	if six {
		src, dst = fmt.Sprintf("2001:db8::%d", 1+rng.IntN(3)), fmt.Sprintf("fd00:8::%d", 100+rng.IntN(7))
	}
	size := []int{0, 100, 1300, 2000, 3700, 4000, 6000, 8900, 8972, 12000, 40000}[rng.IntN(11)] + rng.IntN(9)
	sport := uint16(4000 + rng.IntN(3))
	if rng.IntN(4) == 0 { // a server of a NAT service answers
		port, dst = 1, src
		src = "10.2.0.11"
		if six {
			src = "fd00:2::11"
		}
		f = udp(src, 80, dst, sport, size)
	} else if rng.IntN(2) == 0 {
		f = udp(src, sport, dst, 80, size)
	} else {
		f = tcp(src, sport, dst, 80, []uint8{packet.SYN, packet.ACK, packet.ACK, packet.ACK | packet.FIN}[rng.IntN(4)], size)
	}
	l4 := 34
	if six {
		l4 = 54
	}
	switch rng.IntN(12) {
	case 0:
		if f[l4-11] == packet.ProtoUDP || six && f[20] == packet.ProtoUDP {
			f[l4+6], f[l4+7] = 0, 0 // no checksum
		}
	case 1:
		f[len(f)-1] ^= 1 // a wrong one
	case 2:
		f = append(f, make([]byte, 1+rng.IntN(60))...) // padding
	}
	if !six {
		ip := f[14:]
		switch rng.IntN(8) {
		case 0, 1, 2:
			ip[6] = 0x40
		case 3: // a first fragment
			ip[6] = 0x20
		case 4:
			ip[9] = packet.ProtoICMP
		case 5:
			ip[8] = 1
		}
		packet.SetHeaderChecksum(ip[:20])
	} else if rng.IntN(6) == 0 {
		f[21] = 1
	}
	if rng.IntN(10) == 0 { // a tag that nobody knows
		f = slices.Concat(f[:12], []byte{0x81, 0, 0, 7}, f[12:])
	}
	return port, f
}

// A packet's cuts do not matter: whatever pieces it lies in, the same bytes leave and the same is counted.
func TestChainCutsDoNotMatter(t *testing.T) {
	cases := 3000
	if testing.Short() {
		cases = 600
	}
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var rigs [2]*rig
		for i := range rigs {
			rigs[i] = newChainRig(t, ring.MaxSegments)
			chainServices(rigs[i])
		}
		mtus := []uint32{1500, 9000, 1300, 4000, 65535}
		for n := range cases {
			if n%50 == 0 {
				for _, name := range []string{"c0", "r0"} {
					mtu := mtus[rng.IntN(len(mtus))]
					rigs[0].mtu(name, mtu)
					rigs[1].mtu(name, mtu)
				}
			}
			port, f := chainCase(rng)
			if rng.IntN(8) == 0 {
				spoil(rng, f[:min(len(f), 100)])
			}
			sizes := make([]int, rng.IntN(6))
			for i := range sizes {
				sizes[i] = []int{1 + rng.IntN(60), 1 + rng.IntN(ring.MaxPacket), 1280 + rng.IntN(200)}[rng.IntN(3)]
			}
			var out [2][]sent
			for i, r := range rigs {
				cuts := sizes
				if i == 0 {
					cuts = nil
				}
				r.now += clock.Millisecond
				r.giveCut(port, f, cuts)
				r.workers[0].Round(r.now)
				out[i], _ = r.takeWhole()
			}
			if a, b := fmt.Sprintf("%x", out[0]), fmt.Sprintf("%x", out[1]); a != b {
				t.Fatalf("seed %d packet %d of %d bytes in pieces of %v: %d sent, %d where it comes in full frames\n%.600s\n%.600s", seed, n, len(f), sizes,
					len(out[1]), len(out[0]), b, a)
			}
			for reason := range perf.Reason(perf.Reasons) {
				if a, b := rigs[0].workers[0].stats.Reasons[reason].Load(), rigs[1].workers[0].stats.Reasons[reason].Load(); a != b {
					t.Fatalf("seed %d packet %d of %d bytes in pieces of %v: %v is %d, want %d", seed, n, len(f), sizes, reason, b, a)
				}
			}
			if len(rigs[0].passed) != len(rigs[1].passed) {
				t.Fatal("the kernel got other packets")
			}
			if n := len(rigs[0].passed); n > 0 && !bytes.Equal(rigs[0].passed[n-1].ip, rigs[1].passed[n-1].ip) {
				t.Fatal("the kernel got another packet")
			}
		}
		for _, r := range rigs {
			r.now += 100 * clock.Second
			r.workers[0].Round(r.now) // gives up on the fragments
			r.account()
		}
		if long := rigs[0].workers[0].stats.Ports[1].TXBytes.Load() / rigs[0].workers[0].stats.Ports[1].TXPackets.Load(); long < 1500 {
			t.Errorf("seed %d: packets of %d bytes on average were sent: too few long ones", seed, long)
		}
	}
}

// chainServices makes services of all methods, .100 to .106.
func chainServices(r *rig) {
	add := func(vip string, method service.Method, spec service.ServerSpec) {
		a := netip.MustParseAddr(vip)
		for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
			id := service.ID{Family: 4, Protocol: proto, Addr: a, Port: 80}
			mask := uint32(0xffffffff)
			spec.ServerID = service.ServerID{Addr: netip.MustParseAddr("10.2.0.11"), Port: 80}
			if a.Is6() {
				id.Family, mask, spec.Addr = 6, 128, netip.MustParseAddr("fd00:2::11")
			}
			spec.Method, spec.Weight = method, 1
			if err := r.table.AddService(service.Spec{ID: id, Scheduler: "rr", Netmask: mask}); err != nil {
				r.t.Fatal(err)
			}
			if err := r.table.AddServer(id, spec); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for _, net := range []string{"10.8.0.", "fd00:8::"} {
		add(net+"100", service.NAT, service.ServerSpec{})
		add(net+"101", service.DR, service.ServerSpec{})
		add(net+"102", service.Tunnel, service.ServerSpec{})
		add(net+"103", service.Tunnel, service.ServerSpec{Tunnel: service.GUE, TunPort: 6080})
		add(net+"104", service.Tunnel, service.ServerSpec{Tunnel: service.GUE, TunPort: 6080, TunSum: service.Checksum})
		add(net+"105", service.Tunnel, service.ServerSpec{Tunnel: service.GRE})
		add(net+"106", service.Tunnel, service.ServerSpec{Tunnel: service.GRE, TunSum: service.Checksum})
	}
	r.publish()
}

func TestChainTooBigForNextLink(t *testing.T) {
	r := newChainRig(t, ring.MaxSegments)
	r.mtu("c0", 9000)
	r.service(packet.ProtoUDP, "10.8.0.100", 80, service.DR, "10.2.0.11")
	r.in(0, udp("192.0.2.7", 4000, "10.8.0.100", 80, 10))
	f := udp("192.0.2.7", 4000, "10.8.0.100", 80, 8900)
	f[20] = 0x40
	packet.SetHeaderChecksum(f[14:34])
	r.giveCut(0, f, nil)
	r.workers[0].Round(r.now)
	out, _ := r.takeWhole()
	if len(out) != 1 || out[0].port != 0 {
		t.Fatalf("DF set: %d packets were sent, want an error to the client", len(out))
	}
	e := out[0].frame
	if e[34] != 3 || e[35] != 4 || binary.BigEndian.Uint16(e[40:]) != 1500 {
		t.Errorf("the error is of type %d code %d MTU %d, want 3, 4, 1500", e[34], e[35], binary.BigEndian.Uint16(e[40:]))
	}
	r.reason(perf.TooBig, 1)
	f[20] = 0
	packet.SetHeaderChecksum(f[14:34])
	r.giveCut(0, f, nil)
	r.workers[0].Round(r.now)
	out, _ = r.takeWhole()
	total := 0
	for _, o := range out {
		total += len(o.frame) - 34
		if len(o.frame) > 1514 {
			t.Errorf("a fragment has %d bytes", len(o.frame))
		}
	}
	if len(out) != 7 || total != 8908 {
		t.Errorf("DF clear: %d fragments of %d bytes in all, want 7 of 8908", len(out), total)
	}
	r.account()
}

// A port that sends one frame a packet gets none of several: what is too long for it is dropped and counted, whole.
func TestChainNotForPlainPort(t *testing.T) {
	r := newChainRig(t, ring.MaxSegments)
	r.mtu("c0", 9000)
	r.mtu("r0", 9000)
	r.service(packet.ProtoUDP, "10.8.0.100", 80, service.NAT, "10.2.0.11")
	r.in(0, udp("192.0.2.7", 4000, "10.8.0.100", 80, 10))
	r.workers[0].chains.segments[1] = 1
	r.giveCut(0, udp("192.0.2.7", 4000, "10.8.0.100", 80, 8900), nil)
	r.workers[0].Round(r.now)
	if out, _ := r.takeWhole(); len(out) != 0 {
		t.Errorf("%d packets were sent", len(out))
	}
	r.reason(perf.Oversize, 1)
	r.giveCut(0, udp("192.0.2.7", 4000, "10.8.0.100", 80, 3600), []int{2000})
	r.workers[0].Round(r.now)
	if out, d := r.takeWhole(); len(out) != 1 || len(d) != 1 {
		t.Errorf("what fits one frame, in two: %d packets in %d frames were sent", len(out), len(d))
	}
	r.account()
}

// Packets that wait for a neighbour keep their bytes, whatever comes after them.
func TestChainsWaitForNeighbor(t *testing.T) {
	r := newChainRig(t, ring.MaxSegments)
	r.mtu("c0", 9000)
	r.mtu("r0", 9000)
	r.service(packet.ProtoUDP, "10.8.0.100", 80, service.NAT, "10.2.0.13")
	var want [][]byte
	for i := range 3 {
		f := udp("192.0.2.7", uint16(4000+i), "10.8.0.100", 80, 5000+i)
		want = append(want, f[42:])
		r.giveCut(0, f, nil)
		r.workers[0].Round(r.now)
	}
	if err := r.net.SetNeighbor(netip.MustParseAddr("10.2.0.13"), [6]byte{2, 0, 0, 0, 2, 0x13}); err != nil {
		t.Fatal(err)
	}
	r.publish()
	r.workers[0].Round(r.now)
	out, _ := r.takeWhole()
	if len(out) != 3 {
		t.Fatalf("%d packets were sent, want 3", len(out))
	}
	for i := range out {
		if !bytes.Equal(out[i].frame[42:], want[i]) {
			t.Errorf("packet %d was spoilt while it waited", i)
		}
		r.check(out[i].frame)
	}
	r.account()
}

// Fragments of a datagram meet whichever worker they come to, also those that are longer than a frame, and go on in pieces
// as long as the link takes.
func TestLongFragments(t *testing.T) {
	r := newChainRig(t, ring.MaxSegments)
	r.mtu("c0", 9000)
	r.mtu("r0", 9000)
	r.service(packet.ProtoUDP, "10.8.0.100", 80, service.DR, "10.2.0.11")
	whole := udp("192.0.2.7", 4000, "10.8.0.100", 80, 17000)
	var pieces [][]byte
	for off := 34; off < len(whole); {
		n := min(8976, len(whole)-off)
		f := slices.Concat(whole[:34], whole[off:off+n])
		v := uint16(off-34) / 8
		if off+n < len(whole) {
			v |= 0x2000
		}
		binary.BigEndian.PutUint16(f[16:], uint16(20+n))
		binary.BigEndian.PutUint16(f[20:], v)
		packet.SetHeaderChecksum(f[14:34])
		pieces = append(pieces, f)
		off += n
	}
	for _, f := range pieces {
		r.giveCut(0, f, nil)
	}
	r.workers[0].Round(r.now)
	out, _ := r.takeWhole()
	if len(out) != len(pieces) {
		t.Fatalf("%d fragments were sent, want %d", len(out), len(pieces))
	}
	for i := range out {
		if !bytes.Equal(out[i].frame[34:], pieces[i][34:]) {
			t.Errorf("fragment %d has %d bytes, want the %d that came", i, len(out[i].frame), len(pieces[i]))
		}
	}
	r.account()
}

// Batches of packets in one frame and in several, on rings that are full most of the time, with a neighbour that is not known:
// packets leave whole or not at all, and every frame is somewhere in the end.
func TestChainsOnFullRings(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 8))
		r := newChainRig(t, []int{ring.MaxSegments, 3}[seed%2])
		chainServices(r)
		r.service(packet.ProtoUDP, "10.8.0.107", 80, service.NAT, "10.2.0.13")
		for _, name := range []string{"c0", "r0"} {
			r.mtu(name, []uint32{9000, 65535, 1500}[rng.IntN(3)])
		}
		l, left := &r.lanes[0], []int{0, 0}
		for n := range 2000 {
			for range rng.IntN(12) {
				port, f := chainCase(rng)
				if rng.IntN(10) == 0 {
					port, f = 0, udp("192.0.2.7", uint16(rng.IntN(9)), "10.8.0.107", 80, rng.IntN(9000))
				}
				if len(f) > 9100 && rng.IntN(4) > 0 {
					continue
				}
				need := 8 + len(f)/1200
				if len(l.spare[port]) < need {
					var a [64]uint64
					l.spare[port] = append(l.spare[port], a[:l.kernels[port].Drain(a[:])]...)
				}
				if left[port] += need; len(l.spare[port]) < need || left[port] > 64 {
					break
				}
				r.giveCut(port, f, []int{1280 + rng.IntN(2000)}[:rng.IntN(2)])
			}
			r.now += clock.Time(rng.IntN(int(100 * clock.Millisecond)))
			r.workers[0].Round(r.now)
			for left = []int{0, 0}; rng.IntN(3) == 0; {
				if _, d := r.takeWhole(); len(d) == 0 {
					break
				}
			}
			if n == 1000 {
				if err := r.net.SetNeighbor(netip.MustParseAddr("10.2.0.13"), [6]byte{2, 0, 0, 0, 2, 0x13}); err != nil {
					t.Fatal(err)
				}
				r.publish()
			}
		}
		for range 20 {
			r.now += 10 * clock.Second
			r.workers[0].Round(r.now)
			r.takeWhole()
		}
		if r.workers[0].stats.Reasons[perf.TXFull].Load() == 0 || r.workers[0].stats.Reasons[perf.NeighborQueueFull].Load() == 0 {
			t.Errorf("seed %d: the rings, or the place to wait for a neighbour, were never full", seed)
		}
		r.account()
	}
}
