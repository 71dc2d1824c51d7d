package worker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// batchCase is a random packet for chainServices: of few connections, so that a batch has several of one, answers of NAT
// servers among them; with tags, options, padding and without checksums.
func batchCase(rng *rand.Rand) (port int, f []byte) {
	src, six := fmt.Sprintf("192.0.2.%d", 1+rng.IntN(2)), rng.IntN(3) == 0
	dst := fmt.Sprintf("10.8.0.%d", 100+rng.IntN(7))
	if six {
		src, dst = fmt.Sprintf("2001:db8::%d", 1+rng.IntN(2)), fmt.Sprintf("fd00:8::%d", 100+rng.IntN(7))
	}
	sport, flags := uint16(4000+rng.IntN(3)), []uint8{packet.SYN, packet.SYN, packet.ACK, packet.ACK, packet.ACK, packet.ACK | packet.FIN, packet.RST}[rng.IntN(7)]
	size, isTCP := rng.IntN(40), rng.IntN(2) == 0
	from, to, sp, dp := src, dst, sport, uint16(80)
	if rng.IntN(3) == 0 {
		port, from, to, sp, dp = 1, "10.2.0.11", src, 80, sport
		if six {
			from = "fd00:2::11"
		}
		if flags == packet.SYN {
			flags |= packet.ACK
		}
	}
	if isTCP {
		f = tcp(from, sp, to, dp, flags, size)
	} else {
		f = udp(from, sp, to, dp, size)
	}
	if l4 := len(f) - size - 8; !isTCP && rng.IntN(3) == 0 {
		f[l4+6], f[l4+7] = 0, 0 // no checksum
	}
	if !six {
		switch rng.IntN(8) {
		case 0: // options
			f = slices.Insert(f, 34, 1, 1, 1, 0)
			f[14]++
			binary.BigEndian.PutUint16(f[16:], binary.BigEndian.Uint16(f[16:])+4)
		case 1:
			f[22] = 1
		case 2:
			f[20] = 0x40
		case 3: // a first fragment
			f[20] = 0x20
		}
		packet.SetHeaderChecksum(f[14:])
	}
	if rng.IntN(3) == 0 {
		f = append(f, make([]byte, rng.IntN(20))...)
	}
	if rng.IntN(6) == 0 { // a priority tag
		f = slices.Insert(f, 12, 0x81, 0, 0xe0, 0)
	}
	return port, f[:max(14, len(f)-max(0, rng.IntN(40)-37))]
}

// spoil changes some bytes of a frame, and mostly puts the header checksum right.
func spoil(rng *rand.Rand, f []byte) {
	for range min(1+rng.IntN(3), len(f)-12) {
		f[12+rng.IntN(len(f)-12)] = byte(rng.Uint32())
	}
	if len(f) >= 34 && f[12] == 8 && f[14]>>4 == 4 && 14+int(f[14]&15)*4 <= len(f) && rng.IntN(3) > 0 {
		packet.SetHeaderChecksum(f[14:])
	}
}

// Whether packets come one by one or in batches, the same bytes leave and the same is counted; and after each round what
// the servers are said to have is what stands in the table.
func TestBatchesDoNotMatter(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 11))
		var rigs [2]*rig
		for i := range rigs {
			rigs[i] = newRig(t, 1)
			chainServices(rigs[i])
		}
		for n := range 1500 {
			var list [2][][]byte
			for range rng.IntN(25) {
				port, f := batchCase(rng)
				if rng.IntN(4) == 0 {
					spoil(rng, f)
				}
				list[port] = append(list[port], f)
			}
			step := clock.Time(rng.IntN(int(2 * clock.Second)))
			if rng.IntN(50) == 0 {
				step = 1000 * clock.Second // everything expires
			}
			var out [2][2][]string
			for i, r := range rigs {
				r.now += step
				collect := func() {
					r.workers[0].Round(r.now)
					for _, s := range r.take(0) {
						out[i][s.port] = append(out[i][s.port], fmt.Sprintf("%x", s.frame))
					}
				}
				r.workers[0].Round(r.now) // what expires has done so before both
				for port := range list {
					if i == 1 {
						r.give(0, port, list[port]...)
						collect() // a server answers what has left
						continue
					}
					for _, f := range list[port] {
						r.give(0, port, f)
						collect()
					}
				}
				r.recount()
			}
			for port := range list {
				a, b := out[0][port], out[1][port]
				for k := range max(len(a), len(b)) {
					if k >= len(a) || k >= len(b) || a[k] != b[k] {
						t.Fatalf("seed %d round %d port %d, from packet %d on: one by one\n%v\nin a batch\n%v", seed, n, port, k, a[min(k, len(a)):], b[min(k, len(b)):])
					}
				}
			}
			for reason := range perf.Reason(perf.Reasons) {
				if a, b := rigs[0].workers[0].stats.Reasons[reason].Load(), rigs[1].workers[0].stats.Reasons[reason].Load(); a != b {
					t.Fatalf("seed %d round %d: %v is %d in batches, %d one by one", seed, n, reason, b, a)
				}
			}
			if t.Failed() {
				return
			}
		}
		for _, r := range rigs {
			r.now += 100 * clock.Second
			r.workers[0].Round(r.now)
			r.account()
		}
	}
}

// recount compares the servers' counts with the connections.
func (r *rig) recount() {
	r.t.Helper()
	type load struct{ active, inactive int32 }
	want := make([]load, r.slots.Capacity()+1)
	r.flows.Walk(func(_ flow.Ref, c *flow.Conn) bool {
		if flags := c.LoadFlags(); flags&flow.FlagTemplate == 0 && flags&flow.FlagInactive == 0 {
			want[c.Server].active++
		} else if flags&flow.FlagTemplate == 0 {
			want[c.Server].inactive++
		}
		return true
	})
	for n := uint32(1); n <= r.slots.High(); n++ {
		if a, i, _ := r.slots.Get(n).Counts(); (load{a, i}) != want[n] {
			r.t.Errorf("server %d: %d active and %d inactive are counted, %d and %d are there", n, a, i, want[n].active, want[n].inactive)
		}
	}
}

// Whatever happens to services and servers while two workers share their connections, after every round the counts are
// right, removed servers' included.
func TestLoadsAtRandom(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 12))
		r := newRig(t, 2)
		chainServices(r)
		ids := []service.ID{}
		for _, s := range r.table.Services() {
			ids = append(ids, s.ID)
		}
		for n := range 2000 {
			worker := rng.IntN(2)
			for range rng.IntN(20) {
				port, f := batchCase(rng)
				r.give(worker, port, f)
			}
			if rng.IntN(20) == 0 {
				r.upset(rng, ids[rng.IntN(len(ids))])
				if rng.IntN(2) == 0 { // else the worker goes on by the old snapshot
					r.publish()
				}
			}
			r.now += clock.Time(rng.IntN(int(clock.Second)))
			if rng.IntN(100) == 0 {
				r.now += 1000 * clock.Second
			}
			if rng.IntN(10) == 0 {
				r.table.EmptyTrash(r.now)
			}
			r.workers[worker].Round(r.now)
			r.take(worker)
			if r.recount(); t.Failed() {
				t.Fatalf("seed %d round %d", seed, n)
			}
		}
		r.account()
	}
}

// upset changes a service or its server.
func (r *rig) upset(rng *rand.Rand, id service.ID) {
	r.t.Helper()
	s, err := r.table.Service(id)
	if err != nil {
		r.t.Fatal(err)
	}
	switch spec := s.Spec; {
	case len(s.Servers) == 0:
		a := netip.MustParseAddr("10.2.0.11")
		if id.Family == 6 {
			a = netip.MustParseAddr("fd00:2::11")
		}
		err = r.table.AddServer(id, service.ServerSpec{ServerID: service.ServerID{Addr: a, Port: 80}, Method: service.Method(rng.IntN(2) * 3), Weight: 1})
	case rng.IntN(3) == 0:
		err = r.table.DeleteServer(id, s.Servers[0].ID())
	case rng.IntN(2) == 0:
		server := s.Servers[0].Spec()
		server.Upper, server.Lower = uint32(rng.IntN(3)*2), 0
		err = r.table.EditServer(id, server)
	default:
		spec.Scheduler = []string{"rr", "wrr", "wlc", "sh", "lc"}[rng.IntN(5)]
		err = r.table.EditService(spec)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
