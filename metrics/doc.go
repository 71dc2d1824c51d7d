// Package metrics shows a director's counters to Prometheus. A scrape reads what workers and the control path keep
// anyway; it takes no lock that they hold and costs the dataplane nothing.
//
// Called by cmd/fastlb.
package metrics
