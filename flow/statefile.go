package flow

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// RegionSpec asks for a part of a state file: the connection table's, the server slots', the counters'.
type RegionSpec struct {
	Name string // at most 15 bytes
	Size int64
}

// HugePages is the wish for pages of 2 MiB.
type HugePages uint8

const (
	HugeAuto     HugePages = iota // take them where they can be had
	HugeRequired                  // or fail
	HugeOff
)

// Errors of Map.
var (
	ErrNotState     = errors.New("not a state file of fastlb")
	ErrStateInUse   = errors.New("state file is in use by another director")
	ErrStateLayout  = errors.New("state file was made with other sizes")
	ErrNoHugePages  = errors.New("no huge pages to be had")
	errTooManyParts = errors.New("more regions than a state file holds")
)

// MapOptions says what Map is to map.
type MapOptions struct {
	// Path is the file, on tmpfs, hugetlbfs or any other file system; "" is memory without a name.
	Path      string
	HugePages HugePages
	Regions   []RegionSpec
	// Policy, if not nil, is called with the whole mapping before its pages are faulted in: to set the NUMA policy.
	Policy func([]byte) error
}

const (
	stateMagic   = 0x4554415453424c46 // "FLBSTATE", little-endian
	stateVersion = 1
	maxRegions   = 16
	hugePage     = 2 << 20
)

// stateHeader is the first page of a state file. Written once when the file is made, Magic last.
type stateHeader struct {
	Magic    uint64
	Version  uint32
	Count    uint32
	Size     uint64
	Regions  [maxRegions]stateRegion
	Checksum uint32 // CRC-32C of the fields above but Magic, which counts as 0
	_        uint32
}

type stateRegion struct {
	Name   [16]byte // padded with zeros
	Offset uint64
	Size   uint64
}

// plan lays regions out: the large ones on huge pages' boundaries, all on pages'.
func plan(specs []RegionSpec, huge int64) (stateHeader, error) {
	h := stateHeader{Version: stateVersion, Count: uint32(len(specs))}
	if len(specs) > maxRegions {
		return h, errTooManyParts
	}
	at := int64(pageSize)
	for i, s := range specs {
		if len(s.Name) == 0 || len(s.Name) > 15 || s.Size <= 0 {
			return h, fmt.Errorf("region %q of %d bytes: needs a name of 1 to 15 bytes and a size", s.Name, s.Size)
		}
		if s.Size >= huge {
			at = (at + huge - 1) &^ (huge - 1)
		}
		copy(h.Regions[i].Name[:], s.Name)
		h.Regions[i].Offset, h.Regions[i].Size = uint64(at), uint64(s.Size)
		at = page(at + s.Size)
	}
	h.Size = uint64((at + huge - 1) &^ (huge - 1))
	return h, nil
}

func (h *stateHeader) sum() uint32 {
	c := *h
	c.Magic = 0
	return crc32.Checksum(stateBytes(&c), crc32.MakeTable(crc32.Castagnoli))
}

// differs says how an existing file's layout differs from the wanted one; nil if it does not.
func (h *stateHeader) differs(want *stateHeader) error {
	if h.Version != want.Version {
		return fmt.Errorf("%w: version %d, this program writes version %d", ErrStateLayout, h.Version, want.Version)
	}
	if h.Count != want.Count {
		return fmt.Errorf("%w: %d regions, wanted %d", ErrStateLayout, h.Count, want.Count)
	}
	for i := range h.Count {
		have, w := &h.Regions[i], &want.Regions[i]
		if *have != *w {
			return fmt.Errorf("%w: %s of %d bytes, wanted %s of %d", ErrStateLayout, have.name(), have.Size, w.name(), w.Size)
		}
	}
	return nil
}

func (r *stateRegion) name() string {
	n := 0
	for n < len(r.Name) && r.Name[n] != 0 {
		n++
	}
	return string(r.Name[:n])
}
