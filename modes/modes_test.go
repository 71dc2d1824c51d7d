package modes

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// build is a whole packet with right checksums.
func build(src, dst packet.Addr, proto uint8, payload []byte) []byte {
	var ip []byte
	if src.Is4() {
		ip = make([]byte, 20, 20+len(payload))
		ip[0], ip[8], ip[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(payload)))
		src.Put4(ip[12:])
		dst.Put4(ip[16:])
		packet.SetHeaderChecksum(ip)
	} else {
		ip = make([]byte, 40, 40+len(payload))
		ip[0], ip[6], ip[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(len(payload)))
		src.Put16(ip[8:])
		dst.Put16(ip[24:])
	}
	ip = append(ip, payload...)
	sum(ip, proto)
	return ip
}

// sum computes the transport checksum of a packet afresh: the twin of the incremental updates.
func sum(ip []byte, proto uint8) {
	l4, src, dst := ends(ip)
	at := l4 + 16
	if proto == packet.ProtoUDP {
		at = l4 + 6
	}
	ip[at], ip[at+1] = 0, 0
	c := packet.PseudoHeader(src, dst, proto, len(ip)-l4).AddBytes(ip[l4:]).Checksum()
	if c == 0 && proto == packet.ProtoUDP {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(ip[at:], c)
}

func ends(ip []byte) (l4 int, src, dst packet.Addr) {
	if ip[0]>>4 == 4 {
		return 20, packet.AddrFrom4(ip[12:16]), packet.AddrFrom4(ip[16:20])
	}
	return 40, packet.AddrFrom16(ip[8:24]), packet.AddrFrom16(ip[24:40])
}

var families = [][3]string{{"198.51.100.7", "192.0.2.10", "10.0.0.11"}, {"2001:db8:c::7", "2001:db8::10", "fd00::11"}}

// Both halves of NAT leave what counting all checksums afresh would leave, and nothing else differs.
func TestNATAgainstFullChecksums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		f := families[r.IntN(2)]
		client, vip, server := addr(f[0]), addr(f[1]), addr(f[2])
		proto := []uint8{packet.ProtoTCP, packet.ProtoUDP}[r.IntN(2)]
		payload := make([]byte, 20+r.IntN(60))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		port := uint16(r.Uint32())
		ip := build(client, vip, proto, payload)
		l4, _, _ := ends(ip)
		want := bytes.Clone(ip)
		vport := binary.BigEndian.Uint16(ip[l4+2:])
		setAddr(want, false, server)
		binary.BigEndian.PutUint16(want[l4+2:], port)
		if want[0]>>4 == 4 {
			want[8]--
			packet.SetHeaderChecksum(want)
		} else {
			want[7]--
		}
		sum(want, proto)
		NATIn(ip, l4, proto, vip, server, vport, port)
		if !bytes.Equal(ip, want) {
			t.Fatalf("in\ngot  %x\nwant %x", ip, want)
		}
		ReplaceDst(ip, l4, proto, server, vip, port, vport)
		binary.BigEndian.PutUint16(want[l4+2:], vport)
		setAddr(want, false, vip)
		if want[0]>>4 == 4 {
			packet.SetHeaderChecksum(want)
		}
		sum(want, proto)
		if !bytes.Equal(ip, want) {
			t.Fatalf("undone\ngot  %x\nwant %x", ip, want)
		}
	}
}

// A datagram without a checksum gets one in NAT.
func TestZeroUDPChecksum(t *testing.T) {
	ip := build(addr("198.51.100.7"), addr("192.0.2.10"), packet.ProtoUDP, make([]byte, 28))
	ip[26], ip[27] = 0, 0
	NATOut(ip, 20, packet.ProtoUDP, addr("198.51.100.7"), addr("192.0.2.99"), 0, 53)
	got := binary.BigEndian.Uint16(ip[26:])
	sum(ip, packet.ProtoUDP)
	if want := binary.BigEndian.Uint16(ip[26:]); got != want || got == 0 {
		t.Errorf("checksum %04x, want %04x", got, want)
	}
}

// Every tunnel puts as many bytes in front as Overhead says, keeps the inner packet but for its TTL, and its own
// checksums are right.
// TestOuter4 compares the quick way with Tunnel over random headers.
func TestOuter4(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 20_000 {
		var a, b [256]byte
		for i := range a {
			a[i] = byte(rng.Uint32())
		}
		a[100] = 0x45
		packet.SetHeaderChecksum(a[100:])
		b = a
		source, dest := packet.AddrFrom4(a[:4]), packet.AddrFrom4(a[4:8])
		o := Outer{Source: source, Dest: dest, Type: service.IPIP, ID: uint16(rng.Uint32()), PMTUDisc: rng.IntN(2) == 0}
		at := Tunnel(a[:], 100, 200, &o)
		quick := NewOuter4(source, dest)
		quick.Put((*[40]byte)(b[80:]), 100, o.ID, o.PMTUDisc)
		if at != 80 || a != b {
			t.Fatalf("Tunnel makes\n%x\nOuter4\n%x", a[at:200], b[80:200])
		}
	}
}

func TestTunnel(t *testing.T) {
	for _, inner := range families {
		for _, outer := range families {
			for _, typ := range []service.TunnelType{service.IPIP, service.GUE, service.GRE} {
				for _, s := range []service.TunnelChecksum{service.NoChecksum, service.Checksum} {
					if typ == service.IPIP && s != service.NoChecksum {
						continue
					}
					ip := build(addr(inner[0]), addr(inner[1]), packet.ProtoTCP, make([]byte, 25))
					buf := append(make([]byte, 128), ip...)
					o := Outer{Source: addr(outer[1]), Dest: addr(outer[2]), Type: typ, Sum: s, Port: 6080, SourcePort: 40000, ID: 7, PMTUDisc: true}
					at := Tunnel(buf, 128, len(buf), &o)
					if got, want := 128-at, Overhead(!o.Dest.Is4(), typ, s); got != want {
						t.Fatalf("%d bytes in front, want %d", got, want)
					}
					DR(ip)
					if !bytes.Equal(buf[128:], ip) {
						t.Errorf("inner packet changed")
					}
					l4, src, dst := ends(buf[at:])
					if src != o.Source || dst != o.Dest {
						t.Errorf("outer %v > %v", src, dst)
					}
					var k packet.Tuple
					var p packet.Parsed
					packet.ParseIP(buf, at, &k, &p)
					if p.Kind != packet.OtherProto && p.Kind != packet.Transport || p.TTL != 63 {
						t.Errorf("outer header: kind %d, TTL %d", p.Kind, p.TTL)
					}
					body := buf[at+l4:]
					switch {
					case typ == service.GUE && s == service.Checksum:
						if packet.PseudoHeader(src, dst, packet.ProtoUDP, len(body)).AddBytes(body).Fold() != 0xffff {
							t.Error("UDP checksum")
						}
					case typ == service.GRE && s == service.Checksum:
						if packet.Sum(0).AddBytes(body).Fold() != 0xffff {
							t.Error("GRE checksum")
						}
					}
				}
			}
		}
	}
}
