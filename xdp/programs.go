package xdp

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
)

// programName is how the kernel lists our program: by it we know one that a dead director left.
const programName = "fastlb_steer"

// Programs is the loaded program with its maps: one for all interfaces of a director. Its methods may be called by any
// goroutine.
type Programs struct {
	objects steerObjects
	frags   *ebpf.Program // the same program for drivers' packets of several buffers; nil: the kernel knows no such programs
	noFrags error         // why not

	mu        sync.Mutex
	installed tables        // what the maps hold
	attached  []*Attachment // for their shares of the XSK map
}

// Load verifies the program and makes its maps, which are empty: the program takes nothing before Update. A refusal by
// the kernel's verifier is shown with its log.
func Load() (*Programs, error) {
	p := &Programs{installed: tables{entries: map[steerRuleKey]steerAddressFlag{}, marks: map[steerMarkKey]steerMarkValue{}}}
	spec, err := loadSteer()
	if err != nil {
		return nil, fmt.Errorf("load steering program: %w", err)
	}
	if p.noFrags = p.loadBoth(spec); p.noFrags == nil {
		return p, nil
	}
	delete(spec.Programs, fragsName)
	if err := spec.LoadAndAssign(&p.objects, nil); err != nil {
		return nil, fmt.Errorf("load steering program: %w", explainLoad(err))
	}
	return p, nil
}

// fragsName is how the program is called within the object in its second form; in the kernel both have one name.
const fragsName = programName + "_frags"

// loadBoth loads the program twice: as it is, and as one that takes packets of several buffers (BPF_F_XDP_HAS_FRAGS, Linux
// 5.18). It reads headers alone, which lie in the first buffer. Drivers may refuse either, depending on the MTU.
func (p *Programs) loadBoth(spec *ebpf.CollectionSpec) error {
	frags := spec.Programs[programName].Copy()
	frags.Flags |= bpfXDPHasFrags
	spec.Programs[fragsName] = frags
	var both struct {
		steerObjects
		Frags *ebpf.Program `ebpf:"fastlb_steer_frags"`
	}
	if err := spec.LoadAndAssign(&both, nil); err != nil {
		return err
	}
	p.objects, p.frags = both.steerObjects, both.Frags
	return nil
}

// bpfXDPHasFrags is BPF_F_XDP_HAS_FRAGS of linux/bpf.h.
const bpfXDPHasFrags = 1 << 5

// forms are the program's forms in the order in which an interface is offered them.
func (p *Programs) forms(large bool) []*ebpf.Program {
	switch {
	case p.frags == nil:
		return []*ebpf.Program{p.objects.FastlbSteer}
	case large:
		return []*ebpf.Program{p.frags, p.objects.FastlbSteer}
	}
	return []*ebpf.Program{p.objects.FastlbSteer, p.frags}
}

// explainLoad adds the verifier's log, or what to do.
func explainLoad(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w\nthe verifier's log:\n%s", err, strings.Join(refused.Log, "\n"))
	case isPermission(err):
		return fmt.Errorf("%w (%w)", ErrPermission, err)
	}
	return err
}

// Update makes the program take what r says, by the difference to what it takes now. On an error part of the difference is
// in force; the next Update goes on from there.
func (p *Programs) Update(r *Rules) (Changes, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, changes := diff(p.installed, r.tables())
	if err := p.apply(d); err != nil {
		return changes, fmt.Errorf("update steering rules: %w", err)
	}
	return changes, nil
}

// apply brings d into the maps, in the order that difference explains, and notes each step in p.installed.
func (p *Programs) apply(d difference) error {
	if err := putAll(p.objects.Rules, p.installed.entries, d.putEntries); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	if err := putAll(p.objects.Marks, p.installed.marks, d.putMarks); err != nil {
		return fmt.Errorf("marks: %w", err)
	}
	if d.setFeatures {
		if err := p.objects.Features.Put(uint32(0), d.features); err != nil {
			return fmt.Errorf("features: %w", err)
		}
		p.installed.features = d.features
	}
	if err := dropAll(p.objects.Marks, p.installed.marks, d.dropMarks); err != nil {
		return fmt.Errorf("marks: %w", err)
	}
	if err := dropAll(p.objects.Rules, p.installed.entries, d.dropEntries); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	return nil
}

func putAll[K comparable, V any](m *ebpf.Map, installed, put map[K]V) error {
	for k, v := range put {
		if err := m.Put(k, v); err != nil {
			return fmt.Errorf("%d of at most %d entries: %w", len(installed), m.MaxEntries(), err)
		}
		installed[k] = v
	}
	return nil
}

func dropAll[K comparable, V any](m *ebpf.Map, installed map[K]V, drop []K) error {
	for _, k := range drop {
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		delete(installed, k)
	}
	return nil
}

// Counters are how often each Exit was taken, on all interfaces together, summed over the CPUs.
func (p *Programs) Counters() (n [Exits]uint64, err error) {
	var cpus []uint64
	for e := range Exits {
		if err := p.objects.Counters.Lookup(uint32(e), &cpus); err != nil {
			return n, fmt.Errorf("read counter %v: %w", e, err)
		}
		for _, v := range cpus {
			n[e] += v
		}
	}
	return n, nil
}

// Close lets go of program and maps. Where the program is still attached, it stays and drops what it would take: detach
// before.
func (p *Programs) Close() error {
	if p.frags != nil {
		return errors.Join(p.frags.Close(), p.objects.Close())
	}
	return p.objects.Close()
}

// reserve finds a range of the XSK map for an interface's queues. The caller holds p.mu.
func (p *Programs) reserve(queues int) (base uint32, err error) {
	if queues < 1 {
		return 0, fmt.Errorf("%d queues: an interface has at least one", queues)
	}
	size := p.objects.Xsks.MaxEntries()
	for base = 0; ; {
		if uint64(base)+uint64(queues) > uint64(size) {
			return 0, fmt.Errorf("%d queues: no room for so many, all interfaces together may have %d", queues, size)
		}
		next := base
		for _, a := range p.attached {
			if a.base < base+uint32(queues) && base < a.base+uint32(a.ifc.Queues) {
				next = max(next, a.base+uint32(a.ifc.Queues))
			}
		}
		if next == base {
			return base, nil
		}
		base = next
	}
}

// setMACs makes the program accept exactly these on an interface: the new ones first.
func (p *Programs) setMACs(ifc Interface, base uint32, from, to map[[6]byte]bool) error {
	for mac := range to {
		k := steerInterfaceKey{Ifindex: uint32(ifc.Index), Mac: mac}
		if err := p.objects.Interfaces.Put(k, steerInterfaceValue{Base: base, Queues: uint32(ifc.Queues)}); err != nil {
			return fmt.Errorf("accept MAC %x on %s: %w", mac, ifc.Name, err)
		}
		from[mac] = true
	}
	for mac := range maps.Clone(from) {
		if to[mac] {
			continue
		}
		k := steerInterfaceKey{Ifindex: uint32(ifc.Index), Mac: mac}
		if err := p.objects.Interfaces.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("refuse MAC %x on %s: %w", mac, ifc.Name, err)
		}
		delete(from, mac)
	}
	return nil
}
