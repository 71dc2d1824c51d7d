// Package perf holds what the dataplane counts: the reasons of drops and passes, the per-worker counters, histograms,
// and the harness of the benchmarks.
//
// Counters have one writer, the worker they belong to; readers sum them at any time and cost the worker nothing.
package perf
