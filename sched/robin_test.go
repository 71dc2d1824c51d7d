package sched

import (
	"slices"
	"testing"

	"github.com/fastlb/fastlb/service"
)

func TestRR(t *testing.T) {
	fresh := weights(1, 1, 1)
	if got := picks(start(t, "rr", fresh), 7); got != "ABCABCA" {
		t.Errorf("fresh: %s", got)
	}
	if got := picks(start(t, "rr", weights(1, 0, 1)), 5); got != "ACACA" {
		t.Errorf("B of weight 0: %s", got)
	}
	s := start(t, "rr", fresh)
	picks(s, 1)
	s.Update(fresh[1:], service.ServerRemoved, fresh[0])
	if got := picks(s, 3); got != "BCB" {
		t.Errorf("A deleted at the cursor: %s", got)
	}
	s = start(t, "rr", fresh)
	picks(s, 1)
	d := server(4, 0, 0, 1)
	s.Update(append([]*service.Server{d}, fresh...), service.ServerAdded, d)
	if got := picks(s, 5); got != "BCDAB" {
		t.Errorf("D added: %s", got)
	}
	if got := picks(start(t, "rr", weights(0, 1, 0)), 3); got != "BBB" {
		t.Errorf("only B: %s", got)
	}
	compare(t, "rr", func() model { return &rrTwin{} })
}

// rrTwin keeps the cursor as the kernel does, a pointer into the list: here the server itself, nil being the head.
type rrTwin struct {
	list   []*service.Server
	cursor *service.Server
}

func (m *rrTwin) changed(list []*service.Server, ev service.Event, subject *service.Server) {
	if ev == service.ServerRemoved && subject == m.cursor {
		if i := slices.Index(m.list, subject); i > 0 {
			m.cursor = m.list[i-1]
		} else {
			m.cursor = nil
		}
	}
	m.list = list
}

func (m *rrTwin) pick(list []*service.Server, _ *service.Request) *service.Server {
	at := slices.Index(list, m.cursor) // -1: the head
	turn := append(slices.Clone(list[at+1:]), list[:at+1]...)
	for _, d := range turn {
		if d.Weight > 0 && !d.Overloaded() {
			m.cursor = d
			return d
		}
	}
	return nil
}

func TestWRR(t *testing.T) {
	for _, c := range []struct {
		weights []int32
		want    string
	}{
		{[]int32{4, 3, 2}, "AABABCABCAABABCABC"}, {[]int32{3, 2, 1}, "AABABCAABABCAABABC"},
		{[]int32{100, 50}, "AABAABAABAABAABAAB"}, {[]int32{10, 20, 30}, "CBCABCCBCABCCBCABC"},
		{[]int32{1, 1}, "ABABABABABABABABAB"}, {[]int32{5, 0, 3}, "AAACACACAAACACACAA"},
		{[]int32{7, 2}, "AAAAAABABAAAAAABAB"}, {[]int32{0, 0}, "------------------"},
	} {
		if got := picks(start(t, "wrr", weights(c.weights...)), 18); got != c.want {
			t.Errorf("weights %v: %s, want %s", c.weights, got, c.want)
		}
	}
	list := weights(4, 3, 2)
	list[0].Flags |= service.ServerOverload
	if got := picks(start(t, "wrr", list), 9); got != "BBCBCBBCB" {
		t.Errorf("A overloaded: %s", got)
	}
	list = weights(4, 3, 2)
	s := start(t, "wrr", list)
	first := picks(s, 4)
	list[0].Weight = 2
	s.Update(list, service.ServerEdited, list[0])
	if got := first + picks(s, 8); got != "AABAABCABCBA" {
		t.Errorf("A from 4 to 2: %s", got)
	}
	list = weights(4, 4)
	s = start(t, "wrr", list)
	first = picks(s, 3)
	list[0].Weight = 6
	s.Update(list, service.ServerEdited, list[0])
	if got := first + picks(s, 10); got != "ABA"+"ABAABABAAB" {
		t.Errorf("A from 4 to 6: %s", got)
	}
	compare(t, "wrr", func() model { return &wrrTwin{} })
}

// wrrTwin walks (bar, position) pairs one at a time, with divisors and bars found by trying.
type wrrTwin struct{ at, bar, top, step int } // at: the position after the last one looked at

func (m *wrrTwin) changed(list []*service.Server, ev service.Event, _ *service.Server) {
	high := 0
	for _, d := range list {
		high = max(high, int(d.Weight))
	}
	m.step = 1
	for n := high; n > 1; n-- {
		if !slices.ContainsFunc(list, func(d *service.Server) bool { return int(d.Weight)%n != 0 }) {
			m.step = n
			break
		}
	}
	m.at, m.top = 0, 0
	if high > 0 {
		m.top = high - m.step + 1
	}
	if m.bar > m.top || m.bar == 0 {
		m.bar = m.top
	} else if m.step > 1 {
		m.bar = m.bar - m.bar%m.step + 1
	}
}

func (m *wrrTwin) pick(list []*service.Server, _ *service.Request) *service.Server {
	if m.top == 0 {
		return nil
	}
	// Nobody usable: the kernel gives up with the cursor and the bar somewhere; follow it only as far as they show.
	from, passes := m.at, 0
	lastPass, restarted, stop := false, false, -1
	for {
		for ; m.at < len(list); m.at++ {
			d := list[m.at]
			if int(d.Weight) >= m.bar && !d.Overloaded() {
				m.at++
				return d
			}
			if m.at == stop {
				m.at++
				return nil
			}
		}
		m.at = 0
		if m.bar -= m.step; m.bar <= 0 {
			m.bar = m.top
			if lastPass || from == 0 {
				return nil
			}
			restarted = true
		}
		if lastPass = m.bar <= m.step; lastPass && restarted && from > 0 {
			stop = from - 1
		}
		if passes++; passes > 100000 {
			panic("endless")
		}
	}
}
