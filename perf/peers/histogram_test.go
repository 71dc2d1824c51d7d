package main

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	h := make(histogram, 1000)
	h[0], h[9], h[99], h[999] = 500, 490, 9, 1
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{
		{0.5, 1 << bucketBits},
		{0.501, 10 << bucketBits},
		{0.99, 10 << bucketBits},
		{0.991, 100 << bucketBits},
		{0.999, 100 << bucketBits},
		{1, 1000 << bucketBits},
	} {
		if got := h.quantile(c.q); got != c.want {
			t.Errorf("quantile(%v) = %v, want %v", c.q, got, c.want)
		}
	}
	if got := h.highest(); got != 1000<<bucketBits {
		t.Errorf("highest = %v", got)
	}
	if got := make(histogram, 10); got.quantile(0.5) != 0 || got.highest() != 0 || got.total() != 0 {
		t.Error("an empty histogram has quantiles")
	}
	earlier := make(histogram, 1000)
	earlier[0] = 499
	if d := h.sub(earlier); d[0] != 1 || d.total() != 501 || h[0] != 500 {
		t.Errorf("difference: %d in the first bucket, %d in all", d[0], d.total())
	}
}
