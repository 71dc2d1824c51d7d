package director

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestPassQueueKeepsOrder(t *testing.T) {
	wakes := 0
	q := newPassQueue(4096, func() { wakes++ })
	r := rand.New(rand.NewPCG(1, 2))
	var want [][]byte
	drops := uint64(0)
	check := func() {
		p := q.next()
		if p == nil {
			if len(want) != 0 {
				t.Fatalf("empty, with %d packets due", len(want))
			}
			return
		}
		if !bytes.Equal(p, want[0]) {
			t.Fatalf("packet of %d bytes, want %d", len(p), len(want[0]))
		}
		q.done(p)
		want = want[1:]
	}
	for i := range 20000 {
		if r.IntN(2) == 0 {
			p := bytes.Repeat([]byte{byte(i)}, 1+r.IntN(900))
			before := len(want)
			if q.Pass(0, p, 1) {
				want = append(want, p)
			} else if drops++; before == 0 {
				t.Fatal("an empty queue refused a packet")
			}
		} else {
			check()
		}
	}
	for len(want) > 0 {
		check()
	}
	if q.next() != nil {
		t.Error("a packet too many")
	}
	if drops == 0 || q.dropped.Load() != drops || wakes == 0 {
		t.Errorf("%d drops, counted %d, %d wakes", drops, q.dropped.Load(), wakes)
	}
	if n := testing.AllocsPerRun(100, func() {
		if q.Pass(0, []byte{1, 2, 3}, 1) {
			q.done(q.next())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPassQueueBetweenGoroutines(t *testing.T) {
	wake := make(chan struct{}, 1)
	q := newPassQueue(1024, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	const n = 20000
	go func() {
		for i := 0; i < n; {
			p := make([]byte, 1+i%97)
			p[0] = byte(i)
			if q.Pass(0, p, 1) {
				i++
			}
		}
	}()
	for i := 0; i < n; {
		p := q.next()
		if p == nil {
			<-wake
			continue
		}
		if len(p) != 1+i%97 || p[0] != byte(i) {
			t.Fatalf("packet %d: %d bytes, %d", i, len(p), p[0])
		}
		q.done(p)
		i++
	}
}
