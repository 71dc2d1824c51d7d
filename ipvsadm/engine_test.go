package ipvsadm_test

import (
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/service"
)

// engine is the director's table without a dataplane, on which time stands still; connections are the test's own.
type engine struct {
	*control.Control
	conns   []control.ConnEntry
	refusal error // of every operation, where not nil
}

func newEngine() *engine {
	const capacity = 1024
	flows, err := flow.New(make([]byte, flow.Size(capacity)), flow.Config{Capacity: capacity, Workers: 1})
	if err != nil {
		panic(err)
	}
	return &engine{Control: control.New(control.Options{Slots: service.HeapSlots(64), Flows: flows, Link: link})}
}

// link knows the interfaces of the recordings.
func link(name string) (mtu uint32, up, ok bool) {
	return 1500, name != "down0", name == "sync0" || name == "lo" || name == "down0"
}

func (e *engine) Do(op control.Op) error {
	if e.refusal != nil {
		return e.refusal
	}
	return e.Apply(op, 0)
}

func (e *engine) Connections(yield func(control.ConnEntry) error) error {
	for _, c := range e.conns {
		if err := yield(c); err != nil {
			return err
		}
	}
	return nil
}
