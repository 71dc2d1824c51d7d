package sched

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// TestPickConcurrently lets workers choose, bind and let go while servers come, go and change: for the race detector,
// and no choice may be lost from the counts.
func TestPickConcurrently(t *testing.T) {
	for _, name := range Names() {
		table := service.NewTable(service.HeapSlots(16), func(name string) (service.Scheduler, error) { return New(name, Env{}) })
		id := service.ID{Family: 4, Protocol: service.UDP, Addr: netip.MustParseAddr("192.0.2.1"), Port: 53}
		if err := table.AddService(service.Spec{ID: id, Scheduler: name, Flags: service.SchedFlag1}); err != nil {
			t.Fatal(err)
		}
		spec := func(i int, w int32) service.ServerSpec {
			return service.ServerSpec{ServerID: service.ServerID{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 53}, Weight: w, Upper: 3}
		}
		for i := range 4 {
			if err := table.AddServer(id, spec(i+1, 1)); err != nil {
				t.Fatal(err)
			}
		}
		var snap atomic.Pointer[service.Snapshot]
		snap.Store(table.Snapshot())
		var stop atomic.Bool
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				r := service.Request{Protocol: service.UDP}
				for i := uint64(0); !stop.Load(); i++ {
					r.Client, r.Dst, r.Now = packet.Addr{Lo: i<<32 | 0xffff0000}, packet.Addr{Lo: i%64<<32 | 0xffff0000}, int64(i)*1e9
					if d := snap.Load().Services[0].Pick(&r); d != nil {
						d.Bind(false)
						if w > 0 {
							d.Activate()
						}
						d.Unbind(false, w > 0)
					}
				}
			})
		}
		for i := range 100 {
			s := spec(i%6+1, int32(i%3))
			var err error
			if table.AddServer(id, s) != nil {
				if i%2 == 0 {
					err = table.EditServer(id, s)
				} else {
					err = table.DeleteServer(id, s.ServerID)
				}
			}
			if err != nil {
				t.Error(err)
			}
			snap.Store(table.Snapshot())
		}
		stop.Store(true)
		wg.Wait()
		for _, d := range table.Services()[0].Servers {
			if a, i, _ := d.Counts(); a|i != 0 || d.Overloaded() {
				t.Errorf("%s: %v is left with %d, %d connections, overloaded %v", name, d.ID(), a, i, d.Overloaded())
			}
		}
	}
}
