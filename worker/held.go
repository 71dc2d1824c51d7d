package worker

// Held is how many frames the worker keeps between rounds: those of packets that wait for a next hop's MAC. It belongs to
// the worker's goroutine.
func (w *Worker) Held() int {
	n := 0
	for i := range w.holds.list {
		if w.holds.list[i].k.frame != noFrame {
			n++
		}
	}
	return n
}
