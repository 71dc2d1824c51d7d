package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/fastlb/fastlb/worker"
)

// Load reads a report that was written as JSON.
func Load(file string) (*Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s is no report of fastlb bench: %w", file, err)
	}
	return r, nil
}

// Write writes the report as JSON.
func (r *Report) Write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// Find returns the result of the same combination, or nil.
func (r *Report) Find(c *Result) *Result {
	for i := range r.Results {
		if r.Results[i].String() == c.String() && r.Results[i].Workers == c.Workers {
			return &r.Results[i]
		}
	}
	return nil
}

// Check says which numbers of a report cannot be. All faults are reported.
func (r *Report) Check() error {
	var faults []error
	for i := range r.Results {
		v := &r.Results[i]
		for _, n := range []struct {
			name  string
			value float64
			zero  bool // may be 0
		}{
			{"ns_per_packet", v.NSPerPacket, false}, {"mpps", v.MPPS, false}, {"scaling", v.Scaling, false}, {"miss_ns", v.MissNS, false},
			{"bare_ns", v.BareNS, false}, {"ratio_miss", v.RatioMiss, false}, {"ratio_bare", v.RatioBare, false},
			{"bytes_per_connection", v.BytesPer, false}, {"allocs_per_packet", v.Allocs, true},
		} {
			if math.IsNaN(n.value) || math.IsInf(n.value, 0) || n.value < 0 || n.value == 0 && !n.zero {
				faults = append(faults, fmt.Errorf("%s: %s is %g", v, n.name, n.value))
			}
		}
		for s := range worker.Stages {
			if ns, ok := v.Stages[s.String()]; !ok || math.IsNaN(ns) || math.IsInf(ns, 0) || ns < 0 {
				faults = append(faults, fmt.Errorf("%s: stage %s is %g", v, s, ns))
			}
		}
		if v.Pages == "" {
			faults = append(faults, fmt.Errorf("%s: no kind of pages", v))
		}
	}
	return errors.Join(faults...)
}

// Measure is what a row is compared by.
type Measure string

const (
	Miss Measure = "miss" // the memory miss: what tables in memory wait for
	Bare Measure = "bare" // the bare forwarder: for tables that lie in the caches
)

// Row compares one combination of two reports by a ratio that travels between machines.
type Row struct {
	Now, Was *Result // Was is nil for a combination that the earlier report lacks, Now for one that the later lacks
	By       Measure
	Times    float64 // the ratio is so many times what it was; 0 unless both are there
}

// Slower and Faster bound what is within the tolerance of such measurements.
const (
	Slower = 1.25
	Faster = 0.8
)

// inCaches is the number of connections up to which a table is compared by the bare forwarder: 8 MB.
const inCaches = 50_000

// Compare lists r's results beside those of an earlier report, then what the earlier one has of the same numbers of
// connections and r lacks.
func (r *Report) Compare(was *Report) (rows []Row) {
	sizes := map[int]bool{}
	for i := range r.Results {
		now := &r.Results[i]
		sizes[now.Connections] = true
		row := Row{Now: now, Was: was.Find(now), By: Miss}
		before, after := 0.0, now.RatioMiss
		if now.Connections <= inCaches {
			row.By, after = Bare, now.RatioBare
		}
		if row.Was != nil {
			before = row.Was.RatioMiss
			if row.By == Bare {
				before = row.Was.RatioBare
			}
		}
		if before > 0 {
			row.Times = after / before
		}
		rows = append(rows, row)
	}
	for i := range was.Results {
		if v := &was.Results[i]; sizes[v.Connections] && r.Find(v) == nil {
			rows = append(rows, Row{Was: v})
		}
	}
	return rows
}

// Ratio is the ratio that the row goes by, of one of its results; 0 of nil.
func (w *Row) Ratio(r *Result) float64 {
	switch {
	case r == nil:
		return 0
	case w.By == Bare:
		return r.RatioBare
	}
	return r.RatioMiss
}

// Verdict is the row's comparison in words.
func (w *Row) Verdict() string {
	switch {
	case w.Now == nil:
		return "not measured"
	case w.Was == nil:
		return "new"
	case w.Times == 0:
		return "no ratio before"
	case w.Times > Slower:
		return fmt.Sprintf("slower by %.2f", w.Times)
	case w.Times < Faster:
		return fmt.Sprintf("faster by %.2f", 1/w.Times)
	}
	return "within"
}

// Exceeds says which rows are slower than limit times what they were, or not there.
func Exceeds(rows []Row, limit float64) error {
	var faults []error
	for i := range rows {
		w := &rows[i]
		switch {
		case w.Now == nil:
			faults = append(faults, fmt.Errorf("%s: measured before, not now", w.Was))
		case w.Times > limit:
			faults = append(faults, fmt.Errorf("%s: %.2f times what it was by the %s, more than %g", w.Now, w.Times, w.By, limit))
		}
	}
	return errors.Join(faults...)
}
