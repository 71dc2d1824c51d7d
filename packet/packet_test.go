package packet

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func addr(s string) Addr { return AddrFrom(netip.MustParseAddr(s)) }

func TestAddr(t *testing.T) {
	for _, s := range []string{"0.0.0.1", "10.0.0.1", "255.255.255.255", "2001:db8::1", "fe80::1", "::1"} {
		a := netip.MustParseAddr(s)
		v := AddrFrom(a)
		if v.Netip() != a || v.Is4() != a.Is4() || v.String() != s {
			t.Errorf("%s became %v, IPv4 %v", s, v, v.Is4())
		}
		if b := v.As16(); b != a.As16() || AddrFrom16(b[:]) != v {
			t.Errorf("%s: bytes %x", s, b)
		}
		if a.Is4() {
			b := a.As4()
			var out [4]byte
			v.Put4(out[:])
			if AddrFrom4(b[:]) != v || out != b || v.V4() != binary.BigEndian.Uint32(b[:]) {
				t.Errorf("%s: four bytes", s)
			}
		}
	}
	if !AddrFrom(netip.Addr{}).IsZero() || (Addr{}).Netip().IsValid() {
		t.Error("the zero address")
	}
	for s, want := range map[string]uint32{"10.0.0.1": 0x0a000001, "2001:db8::1": 0x20010db9, "fe80::1": 0xfe800001} {
		if got := addr(s).Fold(); got != want {
			t.Errorf("fold of %s is %08x, want %08x", s, got, want)
		}
	}
}

// slowSum is RFC 1071 word by word.
func slowSum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := make([]byte, r.IntN(200))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if got, want := Sum(0).AddBytes(b).Fold(), slowSum(b); got != want {
			t.Fatalf("%x: %04x, want %04x", b, got, want)
		}
	}
}

// The worked example of spec/forwarding.md 2.
func TestDeltaExample(t *testing.T) {
	d := Delta(0).ReplaceAddr(addr("207.175.44.110"), addr("172.16.0.2")).Replace(0x1f90, 0x1f90)
	b := []byte{0x12, 0x34}
	d.Apply(b)
	if got := binary.BigEndian.Uint16(b); got != 0x623f {
		t.Errorf("%04x, want 623f", got)
	}
}

// A change noted in a Delta gives the checksum that counting afresh gives.
func TestDelta(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		b := make([]byte, 60)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		old, fresh := AddrFrom16(b[0:16]), Addr{r.Uint64(), r.Uint64()}
		if r.IntN(2) == 0 {
			clear(b[0:16])
			old = AddrFrom4(b[20:24])
			fresh = AddrFrom4(b[24:28])
			old.Put16(b[0:16])
		}
		port := uint16(r.Uint32())
		b[58], b[59] = 0, 0
		c := Sum(0).AddBytes(b).Checksum()
		d := Delta(0).ReplaceAddr(old, fresh).Replace(binary.BigEndian.Uint16(b[40:]), port)
		fresh.Put16(b[0:16])
		binary.BigEndian.PutUint16(b[40:], port)
		want := Sum(0).AddBytes(b).Checksum()
		var f [2]byte
		binary.BigEndian.PutUint16(f[:], c)
		d.Apply(f[:])
		if got := binary.BigEndian.Uint16(f[:]); got != want {
			t.Fatalf("%04x, want %04x", got, want)
		}
	}
}

func TestDecrementTTL(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		h := make([]byte, 20)
		for i := range h {
			h[i] = byte(r.Uint32())
		}
		h[0], h[8] = 0x45, h[8]|1
		SetHeaderChecksum(h)
		DecrementTTL(h)
		got := binary.BigEndian.Uint16(h[10:])
		SetHeaderChecksum(h)
		if want := binary.BigEndian.Uint16(h[10:]); got != want {
			t.Fatalf("%04x, want %04x", got, want)
		}
	}
}

// The vectors of Microsoft's RSS verification suite.
func TestToeplitz(t *testing.T) {
	for _, v := range []struct {
		src, dst     string
		sport, dport uint16
		two, four    uint32
	}{
		{"66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178},
		{"199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea},
		{"24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
		{"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d},
		{"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf},
	} {
		k := Tuple{Src: addr(v.src), Dst: addr(v.dst), SrcPort: v.sport, DstPort: v.dport, Family: 4}
		if !k.Src.Is4() {
			k.Family = 6
		}
		if got := Toeplitz(&k, false); got != v.two {
			t.Errorf("%s > %s: %08x, want %08x", v.src, v.dst, got, v.two)
		}
		if got := Toeplitz(&k, true); got != v.four {
			t.Errorf("%s:%d > %s:%d: %08x, want %08x", v.src, v.sport, v.dst, v.dport, got, v.four)
		}
	}
}

// frame4 is an Ethernet frame with a TCP packet; change edits it before the header checksum is made.
func frame4(change func(eth []byte)) []byte {
	b, _ := hex.DecodeString("020000000c00020000000c0108004500002812340000400600000a0100010a09000103e80050000003e8000000005002faf098c60000")
	if change != nil {
		change(b)
	}
	SetHeaderChecksum(b[14:])
	return b
}

func TestParse(t *testing.T) {
	tagged := func(f []byte, tags ...uint16) []byte {
		out := append([]byte{}, f[:12]...)
		for _, v := range tags {
			out = append(out, 0x81, 0, byte(v>>8), byte(v))
		}
		return append(out, f[12:]...)
	}
	six, _ := hex.DecodeString("020000000c00020000000c0186dd" + "6000000000140640" + "fd000001000000000000000000000001" + "fd000009000000000000000000000001" +
		"03e80050000003e8000000005002faf098c60000")
	ext := append(append([]byte{}, six[:54]...), 6, 0, 1, 4, 0, 0, 0, 0)
	ext = append(ext, six[54:]...)
	ext[20] = 0
	ext[19] = 28
	frag := append(append([]byte{}, six[:54]...), 6, 0, 0, 1, 0, 0, 0, 9)
	frag = append(frag, six[54:]...)
	frag[20], frag[19] = 44, 28
	atomic := append([]byte{}, frag...)
	atomic[57] = 0
	for _, v := range []struct {
		name         string
		frame        []byte
		kind         Kind
		sport, dport uint16
		l3, l4       uint16
		vlan, vlan2  uint16
	}{
		{"tcp", frame4(nil), Transport, 1000, 80, 14, 34, NoVLAN, NoVLAN},
		{"padded", append(frame4(nil), 0, 0, 0, 0, 0, 0), Transport, 1000, 80, 14, 34, NoVLAN, NoVLAN},
		{"vlan", tagged(frame4(nil), 100), Transport, 1000, 80, 18, 38, 100, NoVLAN},
		{"priority tag", tagged(frame4(nil), 0xe000), Transport, 1000, 80, 18, 38, NoVLAN, NoVLAN},
		{"two tags", tagged(frame4(nil), 100, 7), Transport, 1000, 80, 22, 42, 100, 7},
		{"three tags", tagged(frame4(nil), 1, 2, 3), NotIP, 0, 0, 0, 0, 1, 2},
		{"options", func() []byte {
			b := frame4(nil)
			o := append(append([]byte{}, b[:34]...), 1, 1, 1, 0)
			o = append(o, b[34:]...)
			o[14], o[17] = 0x46, 44
			SetHeaderChecksum(o[14:])
			return o
		}(), Transport, 1000, 80, 14, 38, NoVLAN, NoVLAN},
		{"arp", tagged(frame4(func(b []byte) { b[12], b[13] = 8, 6 })), NotIP, 0, 0, 0, 0, NoVLAN, NoVLAN},
		{"runt", frame4(nil)[:13], Runt, 0, 0, 0, 0, NoVLAN, NoVLAN},
		{"cut header", frame4(nil)[:30], Runt, 0, 0, 0, 0, NoVLAN, NoVLAN},
		{"cut packet", frame4(nil)[:50], BadIP, 0, 0, 0, 0, NoVLAN, NoVLAN},
		{"version", frame4(func(b []byte) { b[14] = 0x55 }), BadIP, 0, 0, 0, 0, NoVLAN, NoVLAN},
		{"ihl", frame4(func(b []byte) { b[14] = 0x44 }), BadIP, 0, 0, 0, 0, NoVLAN, NoVLAN},
		{"checksum", func() []byte { b := frame4(nil); b[24]++; return b }(), BadIP, 0, 0, 0, 0, NoVLAN, NoVLAN},
		{"short tcp", frame4(func(b []byte) { b[17] = 39 }), BadTransport, 0, 0, 0, 0, NoVLAN, NoVLAN},
		{"first fragment", frame4(func(b []byte) { b[20] = 0x20 }), Fragment, 0, 0, 14, 34, NoVLAN, NoVLAN},
		{"later fragment", frame4(func(b []byte) { b[21] = 1 }), Fragment, 0, 0, 14, 34, NoVLAN, NoVLAN},
		{"df is none", frame4(func(b []byte) { b[20] = 0x40 }), Transport, 1000, 80, 14, 34, NoVLAN, NoVLAN},
		{"icmp", frame4(func(b []byte) { b[23] = 1 }), ICMP, 0, 0, 14, 34, NoVLAN, NoVLAN},
		{"icmpv6 in ipv4", frame4(func(b []byte) { b[23] = 58 }), OtherProto, 0, 0, 14, 34, NoVLAN, NoVLAN},
		{"esp", frame4(func(b []byte) { b[23] = 50 }), OtherProto, 0, 0, 14, 34, NoVLAN, NoVLAN},
		{"ipv6", six, Transport, 1000, 80, 14, 54, NoVLAN, NoVLAN},
		{"ipv6 options", ext, Transport, 1000, 80, 14, 62, NoVLAN, NoVLAN},
		{"ipv6 fragment", frag, Fragment, 0, 0, 14, 0, NoVLAN, NoVLAN},
		{"ipv6 atomic fragment", atomic, Fragment, 0, 0, 14, 0, NoVLAN, NoVLAN},
		{"ipv6 cut", six[:60], BadIP, 0, 0, 0, 0, NoVLAN, NoVLAN},
	} {
		k, p := Tuple{SrcPort: 9, DstPort: 9}, Parsed{Flags: 0xff}
		Parse(v.frame, &k, &p)
		if p.Kind != v.kind || p.VLAN != v.vlan || p.VLAN2 != v.vlan2 {
			t.Errorf("%s: kind %d, tags %d %d; want %d, %d %d", v.name, p.Kind, p.VLAN, p.VLAN2, v.kind, v.vlan, v.vlan2)
			continue
		}
		if v.l3 != 0 && (p.L3 != v.l3 || k.SrcPort != v.sport || k.DstPort != v.dport) || v.l4 != 0 && p.L4 != v.l4 {
			t.Errorf("%s: L3 %d L4 %d ports %d %d", v.name, p.L3, p.L4, k.SrcPort, k.DstPort)
		}
		if v.kind == Transport && (p.Flags != SYN || p.TTL != 64) {
			t.Errorf("%s: flags %x ttl %d", v.name, p.Flags, p.TTL)
		}
	}
}

// FuzzParse compares Parse with gopacket where both see a whole transport packet, and makes sure that offsets stay
// within the frame whatever comes.
func FuzzParse(f *testing.F) {
	f.Add(frame4(nil))
	f.Add(frame4(func(b []byte) { b[20] = 0x20 }))
	f.Add(append(frame4(func(b []byte) { b[23] = 17 }), make([]byte, 20)...))
	f.Add(frame4(func(b []byte) { b[15], b[22] = 0xff, 1 }))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var k Tuple
		var p Parsed
		Parse(frame, &k, &p)
		switch p.Kind {
		case Transport, ICMP, OtherProto, Fragment:
			if int(p.L3)+int(p.Len) > len(frame) || p.Len < 20 {
				t.Fatalf("packet ends at %d of %d", int(p.L3)+int(p.Len), len(frame))
			}
		default:
			return
		}
		if p.L3 == 14 && k.Family == 4 {
			// The general way is the twin of the short one.
			k2, p2 := Tuple{}, Parsed{L3: 14, VLAN: NoVLAN, VLAN2: NoVLAN}
			parse4(frame, &k2, &p2)
			if k2 != k || p2 != p {
				t.Fatalf("short way %+v %+v\ngeneral   %+v %+v", k, p, k2, p2)
			}
		}
		if p.Kind == Fragment {
			return
		}
		if int(p.L4) > len(frame) || p.L4 < p.L3+20 {
			t.Fatalf("L4 at %d of %d, L3 at %d", p.L4, len(frame), p.L3)
		}
		if p.Kind != Transport || p.VLAN != NoVLAN || p.L3 != 14 {
			return
		}
		g := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
		var src, dst string
		switch n := g.NetworkLayer().(type) {
		case *layers.IPv4:
			src, dst = n.SrcIP.String(), n.DstIP.String()
		case *layers.IPv6:
			src, dst = n.SrcIP.String(), n.DstIP.String()
		default:
			return
		}
		if a, _ := netip.ParseAddr(src); a.Unmap() != k.Src.Netip() && !k.Src.IsZero() {
			t.Errorf("source %v, gopacket says %s", k.Src, src)
		}
		if a, _ := netip.ParseAddr(dst); a.Unmap() != k.Dst.Netip() && !k.Dst.IsZero() {
			t.Errorf("destination %v, gopacket says %s", k.Dst, dst)
		}
		switch l := g.TransportLayer().(type) {
		case *layers.TCP:
			if uint16(l.SrcPort) != k.SrcPort || uint16(l.DstPort) != k.DstPort || l.SYN != (p.Flags&SYN != 0) {
				t.Errorf("TCP %d > %d, gopacket says %v > %v", k.SrcPort, k.DstPort, l.SrcPort, l.DstPort)
			}
		case *layers.UDP:
			if uint16(l.SrcPort) != k.SrcPort || uint16(l.DstPort) != k.DstPort {
				t.Errorf("UDP %d > %d, gopacket says %v > %v", k.SrcPort, k.DstPort, l.SrcPort, l.DstPort)
			}
		}
	})
}

func TestParseAllocs(t *testing.T) {
	var k Tuple
	var p Parsed
	f := frame4(nil)
	if n := testing.AllocsPerRun(100, func() { Parse(f, &k, &p) }); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
}

func BenchmarkParse(b *testing.B) {
	var k Tuple
	var p Parsed
	f := frame4(nil)
	for range b.N {
		Parse(f, &k, &p)
	}
}
