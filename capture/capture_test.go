package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
)

// seen is what a reader gave, copied.
type seen struct {
	at    clock.Time
	iface string
	data  string
	wire  int
}

func readAll(b []byte) (all []seen, err error) {
	r, err := NewReader(bytes.NewReader(b))
	for err == nil {
		var p Packet
		if err = r.Next(&p); err == nil {
			all = append(all, seen{p.Time, p.Interface, string(p.Data), p.Length})
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return all, err
}

func u32(o binary.AppendByteOrder, v ...uint32) (b []byte) {
	for _, x := range v {
		b = o.AppendUint32(b, x)
	}
	return b
}

func u16(o binary.AppendByteOrder, v ...uint16) (b []byte) {
	for _, x := range v {
		b = o.AppendUint16(b, x)
	}
	return b
}

func pcapFile(o binary.AppendByteOrder, magic, link uint32, records ...[]byte) []byte {
	b := u32(o, magic)
	b = append(b, u16(o, 2, 4)...)
	b = append(b, u32(o, 0, 0, 65535, link)...)
	return append(b, bytes.Join(records, nil)...)
}

func block(o binary.AppendByteOrder, kind uint32, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(len(body) + 12)
	return bytes.Join([][]byte{u32(o, kind, n), body, u32(o, n)}, nil)
}

func opt(o binary.AppendByteOrder, code uint16, v string) []byte {
	b := append(u16(o, code, uint16(len(v))), v...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func sectionBlock(o binary.AppendByteOrder, opts ...[]byte) []byte {
	return block(o, blockSection, append([][]byte{u32(o, byteOrderMagic), u16(o, 1, 0), u32(o, 0xffffffff, 0xffffffff)}, opts...)...)
}

func ifaceBlock(o binary.AppendByteOrder, link uint16, opts ...[]byte) []byte {
	return block(o, blockInterface, append([][]byte{u16(o, link, 0), u32(o, 0)}, opts...)...)
}

func TestReadPcap(t *testing.T) {
	for _, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, c := range []struct {
			magic uint32
			unit  clock.Time
		}{{magicMicro, 1000}, {magicNano, 1}} {
			f := pcapFile(o, c.magic, linkEthernet,
				u32(o, 0, 0, 3, 3), []byte("abc"),
				u32(o, 7, 5, 0, 0),
				u32(o, 0xffffffff, 999999, 2, 60), []byte("de"))
			got, err := readAll(f)
			want := []seen{{0, "", "abc", 3}, {7*clock.Second + 5*c.unit, "", "", 0}, {0xffffffff*clock.Second + 999999*c.unit, "", "de", 60}}
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v %x: got %v, %v, want %v", o, c.magic, got, err, want)
			}
		}
	}
	if got, err := readAll(pcapFile(binary.LittleEndian, magicMicro, linkEthernet)); err != nil || len(got) != 0 {
		t.Errorf("empty pcap: %v, %v", got, err)
	}
}

func TestReadPcapng(t *testing.T) {
	for _, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		f := bytes.Join([][]byte{
			sectionBlock(o, opt(o, 4, "some program")),
			ifaceBlock(o, linkEthernet, opt(o, optName, "eth0"), opt(o, optTSResol, "\x09"), opt(o, optEnd, "")),
			ifaceBlock(o, linkEthernet, opt(o, optName, "eth1.100")),
			block(o, 0xbad, []byte("a block of another kind")),
			block(o, blockEnhanced, u32(o, 1, 0, 1500000, 5, 5), []byte("frame"), opt(o, 1, "a comment")),
			block(o, blockEnhanced, u32(o, 0, 1, 5, 1, 9), []byte("f")),
			block(o, blockSimple, u32(o, 3), []byte("sim")),
			block(o, blockPacket, u16(o, 1, 0), u32(o, 0, 7, 3, 3), []byte("old")),
			sectionBlock(o),
			ifaceBlock(o, linkEthernet, opt(o, optTSResol, "\x8a"), opt(o, optTSOffset, string(u32(o, 0, 0)))),
			ifaceBlock(o, 101),
			block(o, blockEnhanced, u32(o, 0, 0, 1536, 1, 1), []byte("g")),
		}, nil)
		got, err := readAll(f)
		want := []seen{
			{1500 * clock.Millisecond, "eth1.100", "frame", 5},
			{1<<32 + 5, "eth0", "f", 9},
			{1<<32 + 5, "eth0", "sim", 3},
			{7000, "eth1.100", "old", 3},
			{1500 * clock.Millisecond, "", "g", 1},
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: got %v, %v\nwant %v", o, got, err, want)
		}
	}
	if got, err := readAll(sectionBlock(binary.LittleEndian)); err != nil || len(got) != 0 {
		t.Errorf("empty pcapng: %v, %v", got, err)
	}
}

func TestOffsetMovesTime(t *testing.T) {
	o := binary.LittleEndian
	minus2 := string(o.AppendUint64(nil, uint64(0xfffffffffffffffe)))
	f := func(ts uint32) []byte {
		return bytes.Join([][]byte{sectionBlock(o), ifaceBlock(o, linkEthernet, opt(o, optTSOffset, minus2)),
			block(o, blockEnhanced, u32(o, 0, 0, ts, 0, 0))}, nil)
	}
	if got, err := readAll(f(3e6)); err != nil || got[0].at != clock.Second {
		t.Errorf("got %v, %v, want 1 s", got, err)
	}
	if _, err := readAll(f(1e6)); !errors.Is(err, ErrFormat) {
		t.Errorf("a time before 1970: %v", err)
	}
}

func TestDamage(t *testing.T) {
	o := binary.LittleEndian
	shb, idb := sectionBlock(o), ifaceBlock(o, linkEthernet)
	for _, c := range []struct {
		name   string
		file   []byte
		offset int64
		text   string
	}{
		{"nothing", nil, 0, "no capture begins so"},
		{"two bytes", []byte{0xd4, 0xc3}, 0, "no capture begins so"},
		{"text", []byte("not a capture at all, far from it"), 0, "neither pcap nor pcapng"},
		{"header cut", pcapFile(o, magicMicro, 1)[:20], 0, "cut short"},
		{"other link", pcapFile(o, magicMicro, 113), 20, "link type 113"},
		{"record cut", pcapFile(o, magicMicro, 1, u32(o, 1, 1, 4)), 24, "a record header needs 16 bytes, the file ends after 12"},
		{"frame cut", pcapFile(o, magicMicro, 1, u32(o, 1, 1, 4, 4), []byte("abc")), 24, "needs 4 bytes, the file ends after 3"},
		{"huge record", pcapFile(o, magicMicro, 1, u32(o, 1, 1, 1<<30, 4)), 24, "the file is damaged"},
		{"bad fraction", pcapFile(o, magicMicro, 1, u32(o, 1, 1e6, 0, 0)), 24, "damaged"},
		{"section cut", shb[:16], 0, "cut short"},
		{"bad mark", append(append([]byte{}, shb[:8]...), 1, 2, 3, 4), 0, "byte order mark"},
		{"version", bytes.Join([][]byte{shb[:12], {2}, shb[13:]}, nil), 0, "version 2.0"},
		{"no interface", append(append([]byte{}, shb...), block(o, blockEnhanced, u32(o, 0, 0, 0, 0, 0))...), 28, "interface 0; the section has described 0"},
		{"lengths differ", bytes.Join([][]byte{shb, idb[:len(idb)-4], u32(o, 99)}, nil), 28, "says 99 at its end"},
		{"length not of four", bytes.Join([][]byte{shb, u32(o, 1, 21)}, nil), 28, "a block of 21 bytes"},
		{"frame over block", bytes.Join([][]byte{shb, idb, block(o, blockEnhanced, u32(o, 0, 0, 0, 5, 5), []byte("abcd"))}, nil), 48, "has room for 4"},
		{"other interface link", bytes.Join([][]byte{shb, ifaceBlock(o, 113), block(o, blockSimple, u32(o, 0))}, nil), 48, "link type is 113"},
		{"option over block", bytes.Join([][]byte{shb, ifaceBlock(o, 1, u16(o, 2, 50))}, nil), 28, "option 2 has 50 bytes"},
		{"resolution", bytes.Join([][]byte{shb, ifaceBlock(o, 1, opt(o, optTSResol, "\x30"))}, nil), 28, "too fine"},
		{"packet cut", bytes.Join([][]byte{shb, idb, u32(o, 6, 60)}, nil), 48, "needs 52 bytes, the file ends after 0"},
	} {
		_, err := readAll(c.file)
		var f *FormatError
		if !errors.As(err, &f) || !errors.Is(err, ErrFormat) || f.Offset != c.offset || !strings.Contains(f.What, c.text) {
			t.Errorf("%s: got %v, want %q at %d", c.name, err, c.text, c.offset)
		}
	}
}

func TestWriter(t *testing.T) {
	write := func() []byte {
		var b bytes.Buffer
		w, err := NewWriter(&b, "eth0", "eth0.100")
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range []clock.Time{0, 1, 1<<62 + 3} {
			if err := w.Write(i%2, at, []byte("frame "[:i*3])); err != nil {
				t.Fatal(err)
			}
		}
		if w.Write(2, 0, nil) == nil || w.Write(0, -1, nil) == nil || w.Write(0, 0, make([]byte, maxFrame+1)) == nil {
			t.Error("a bad frame was written")
		}
		return b.Bytes()
	}
	b := write()
	if !bytes.Equal(b, write()) {
		t.Error("the same frames, other bytes")
	}
	got, err := readAll(b)
	want := []seen{{0, "eth0", "", 0}, {1, "eth0.100", "fra", 3}, {1<<62 + 3, "eth0", "frame ", 6}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (failing) Read([]byte) (int, error)  { return 0, io.ErrClosedPipe }

func TestErrorsOfTheSystem(t *testing.T) {
	if _, err := NewWriter(failing{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if _, err := NewReader(failing{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// FuzzReader: no input makes the reader panic or hold more than a block, and what it reads survives being written.
func FuzzReader(f *testing.F) {
	o := binary.BigEndian
	f.Add(pcapFile(binary.LittleEndian, magicNano, 1, u32(binary.LittleEndian, 0, 0, 1, 1), []byte("a")))
	f.Add(bytes.Join([][]byte{sectionBlock(o), ifaceBlock(o, 1, opt(o, optName, "eth0")), block(o, blockEnhanced, u32(o, 0, 0, 9, 1, 1), []byte("b"))}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readAll(b)
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Fatalf("an error of another kind: %v", err)
		}
		var out bytes.Buffer
		w, err := NewWriter(&out, "eth0")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if err := w.Write(0, p.at, []byte(p.data)); err != nil {
				t.Fatal(err)
			}
		}
		again, err := readAll(out.Bytes())
		if err != nil || len(again) != len(all) {
			t.Fatalf("%d packets written, %d read: %v", len(all), len(again), err)
		}
		for i := range all {
			if all[i].at != again[i].at || all[i].data != again[i].data {
				t.Fatalf("packet %d: %v became %v", i, all[i], again[i])
			}
		}
	})
}
