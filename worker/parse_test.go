package worker

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/ring"
)

// bed is a worker's memory with nothing else of a worker: two frames, and packets to parse in them.
type bed struct{ Worker }

func newBed() *bed { return &bed{Worker{mem: make([]byte, 2*ring.FrameSize)}} }

// put lays a packet down so that it ends before the given offset.
func (b *bed) put(frame []byte, end int) ring.Desc {
	copy(b.mem[end-len(frame):], frame)
	return ring.Desc{Addr: uint64(end - len(frame)), Len: uint32(len(frame))}
}

// check parses the descriptors by the vector routine and one by one, and compares everything that was written.
func (b *bed) check(t *testing.T, d []ring.Desc) (rest int) {
	t.Helper()
	var one Worker
	one.mem = b.mem
	for i := range d { // what parse leaves alone must be left alone by both
		fill := byte(0xa0 + i)
		for j := range 40 {
			*(*byte)(unsafe.Add(unsafe.Pointer(&b.probes[i].Key), j)) = fill
			*(*byte)(unsafe.Add(unsafe.Pointer(&one.probes[i].Key), j)) = fill
		}
		b.parsed[i], one.parsed[i] = packet.Parsed{}, packet.Parsed{}
	}
	want := one.parseEach(d)
	bytes, rest := parseVector(&b.mem[0], uint64(len(b.mem)), &d[0], len(d), &b.parsed[0], &b.probes[0])
	b.parseRest(d)
	if bytes != want {
		t.Errorf("%d bytes, want %d", bytes, want)
	}
	for i := range d {
		if b.parsed[i] != one.parsed[i] {
			t.Errorf("packet %x:\n  vector     %+v\n  one by one %+v", b.mem[d[i].Addr:][:d[i].Len], b.parsed[i], one.parsed[i])
		}
		if v, o := b.probes[i].Key, one.probes[i].Key; v != o {
			t.Errorf("packet %x:\n  vector     %+v\n  one by one %+v", b.mem[d[i].Addr:][:d[i].Len], v, o)
		}
	}
	return rest
}

func TestParseLayout(t *testing.T) {
	var p packet.Parsed
	var q flow.Probe
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"Parsed", unsafe.Sizeof(p), 20}, {"L3", unsafe.Offsetof(p.L3), 4}, {"L4", unsafe.Offsetof(p.L4), 6}, {"VLAN", unsafe.Offsetof(p.VLAN), 8},
		{"VLAN2", unsafe.Offsetof(p.VLAN2), 10}, {"Kind", unsafe.Offsetof(p.Kind), 12}, {"Flags", unsafe.Offsetof(p.Flags), 13},
		{"TTL", unsafe.Offsetof(p.TTL), 14}, {"TOS", unsafe.Offsetof(p.TOS), 15}, {"DF", unsafe.Offsetof(p.DF), 16},
		{"Probe", unsafe.Sizeof(q), 64}, {"Key", unsafe.Offsetof(q.Key), 0}, {"Dst", unsafe.Offsetof(q.Key.Dst), 16},
		{"SrcPort", unsafe.Offsetof(q.Key.SrcPort), 32}, {"Proto", unsafe.Offsetof(q.Key.Proto), 36}, {"Family", unsafe.Offsetof(q.Key.Family), 37},
		{"Desc", unsafe.Sizeof(ring.Desc{}), 16}, {"Len", unsafe.Offsetof(ring.Desc{}.Len), 8},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, parse_amd64.s says %d", c.name, c.got, c.want)
		}
	}
}

// plainFrame is a packet that the vector routine must take.
func plainFrame(rng *rand.Rand, v6, udp bool, payload int) []byte {
	l4, proto := 20, byte(packet.ProtoTCP)
	if udp {
		l4, proto = 8, packet.ProtoUDP
	}
	ip := 20
	if v6 {
		ip = 40
	}
	f := make([]byte, max(14+ip+l4+payload, 60)+rng.IntN(3))
	for i := range f {
		f[i] = byte(rng.Uint32())
	}
	h := f[14:]
	if v6 {
		binary.BigEndian.PutUint16(f[12:], packet.EtherIPv6)
		h[0], h[6] = 0x60|h[0]&15, proto
		binary.BigEndian.PutUint16(h[4:], uint16(l4+payload))
		return f
	}
	binary.BigEndian.PutUint16(f[12:], packet.EtherIPv4)
	h[0], h[9] = 0x45, proto
	binary.BigEndian.PutUint16(h[2:], uint16(ip+l4+payload))
	h[6], h[7] = h[6]&0xc0, 0
	packet.SetHeaderChecksum(h[:20])
	return f
}

func TestParseVector(t *testing.T) {
	if !hasVector {
		t.Skip("no vector routine here") // its twin is what runs
	}
	rng := rand.New(rand.NewPCG(1, 2))
	b := newBed()
	for range 20_000 {
		v6 := rng.IntN(2) == 0
		first := b.put(plainFrame(rng, v6, rng.IntN(2) == 0, rng.IntN(200)), ring.FrameSize)
		if rest := b.check(t, []ring.Desc{first}); rest != 0 {
			t.Fatalf("a common packet was left: %x", b.mem[first.Addr:][:first.Len])
		}
		// The same packet with something about it, at the very end of memory, and a whole one behind it.
		odd := plainFrame(rng, v6, rng.IntN(2) == 0, rng.IntN(20))
		for range rng.IntN(3) {
			odd[12+rng.IntN(len(odd)-12)] = byte(rng.Uint32())
		}
		odd = odd[:len(odd)-rng.IntN(len(odd))]
		b.check(t, []ring.Desc{b.put(odd, len(b.mem)), first})
		if t.Failed() {
			return
		}
	}
	bad := []ring.Desc{{Addr: uint64(len(b.mem)) - 10, Len: 60}, {Addr: 1 << 63, Len: 60}, {Addr: ^uint64(0) - 20, Len: 60}}
	if _, rest := parseVector(&b.mem[0], uint64(len(b.mem)), &bad[0], len(bad), &b.parsed[0], &b.probes[0]); rest != len(bad) {
		t.Errorf("%d of %d descriptors outside of the memory were refused", rest, len(bad))
	}
}

func FuzzParseVector(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 4 {
		f.Add(plainFrame(rng, i&1 == 0, i&2 == 0, 10))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if !hasVector || len(frame) > ring.MaxPacket {
			return
		}
		b := newBed()
		b.check(t, []ring.Desc{b.put(frame, len(b.mem))})
	})
}

func BenchmarkParse(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, v6 := range []bool{false, true} {
		name := map[bool]string{false: "IPv4", true: "IPv6"}[v6]
		w := &Worker{mem: make([]byte, 64*ring.FrameSize)}
		d := make([]ring.Desc, 64)
		for i := range d {
			f := plainFrame(rng, v6, false, 0)
			d[i] = ring.Desc{Addr: uint64(i)*ring.FrameSize + ring.Headroom, Len: uint32(len(f))}
			copy(w.mem[d[i].Addr:], f)
		}
		b.Run(name+"/batch", func(b *testing.B) {
			for n := 0; n < b.N; n += len(d) {
				w.parse(d)
			}
		})
		b.Run(name+"/each", func(b *testing.B) {
			for n := 0; n < b.N; n += len(d) {
				w.parseEach(d)
			}
		})
	}
}
