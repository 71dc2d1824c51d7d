package flow

import "sync/atomic"

// dueHeap is replay's binary heap of connections by deadline, ties by number. Its keys are lower bounds: a packet that
// extends a deadline does not touch it, and earliest corrects what has come to the top. So a packet costs at most one
// sift, however many connections there are.
type dueHeap struct {
	heap []Ref
	key  []int64 // by Ref
	at   []int32 // by Ref: position in heap + 1, 0 if not in it
}

func (h *dueHeap) less(a, b Ref) bool {
	return h.key[a] < h.key[b] || h.key[a] == h.key[b] && a < b
}

func (h *dueHeap) add(r Ref, deadline int64) {
	for int(r) >= len(h.key) {
		h.key = append(h.key, make([]int64, len(h.key)+64)...)
		h.at = append(h.at, make([]int32, len(h.at)+64)...)
	}
	h.key[r] = deadline
	h.heap = append(h.heap, r)
	h.at[r] = int32(len(h.heap))
	h.up(len(h.heap) - 1)
}

func (h *dueHeap) remove(r Ref) {
	if int(r) >= len(h.at) || h.at[r] == 0 {
		return
	}
	i, last := int(h.at[r])-1, len(h.heap)-1
	h.set(i, h.heap[last])
	h.heap = h.heap[:last]
	h.at[r] = 0
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h *dueHeap) lower(r Ref, deadline int64) {
	if int(r) < len(h.at) && h.at[r] != 0 && deadline < h.key[r] {
		h.key[r] = deadline
		h.up(int(h.at[r]) - 1)
	}
}

func (h *dueHeap) raise(r Ref, deadline int64) {
	if int(r) < len(h.at) && h.at[r] != 0 {
		h.key[r] = deadline
		h.down(int(h.at[r]) - 1)
		h.up(int(h.at[r]) - 1)
	}
}

// earliest is the connection with the earliest deadline, its key exact; 0 if there is none.
func (h *dueHeap) earliest(t *Table) Ref {
	for len(h.heap) > 0 {
		r := h.heap[0]
		d := atomic.LoadInt64(&t.recs[r].Deadline)
		if d == h.key[r] {
			return r
		}
		h.raise(r, d)
	}
	return 0
}

func (h *dueHeap) set(i int, r Ref) {
	h.heap[i] = r
	h.at[r] = int32(i) + 1
}

func (h *dueHeap) up(i int) {
	r := h.heap[i]
	for i > 0 {
		above := (i - 1) / 2
		if !h.less(r, h.heap[above]) {
			break
		}
		h.set(i, h.heap[above])
		i = above
	}
	h.set(i, r)
}

func (h *dueHeap) down(i int) {
	r := h.heap[i]
	for {
		below := 2*i + 1
		if below >= len(h.heap) {
			break
		}
		if below+1 < len(h.heap) && h.less(h.heap[below+1], h.heap[below]) {
			below++
		}
		if !h.less(h.heap[below], r) {
			break
		}
		h.set(i, h.heap[below])
		i = below
	}
	h.set(i, r)
}
