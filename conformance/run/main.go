// Command run compares fastlb with the IPVS of a Linux kernel in a machine under QEMU: see package conformance. `make
// conformance` builds what it needs and calls it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fastlb/fastlb/conformance"
	"github.com/fastlb/fastlb/conformance/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

var errDiffers = errors.New("fastlb and the kernel differ")

func run(ctx context.Context) error {
	var m conformance.Machine
	flag.StringVar(&m.Image, "image", "bin/machine", "the `folder` that internal/vm/image made")
	flag.StringVar(&m.Guest, "guest", "bin/conformance-guest", "the guest's `program`, static")
	seed := flag.Uint64("seed", 1, "of the random cases")
	random := flag.Int("random", 30, "how many random sequences there are")
	each := flag.Int("each", 1, "how many random sequences each scheduler gets")
	batch := flag.Int("batch", 250, "cases in a boot")
	only := flag.String("cases", "", "only those whose names match this `expression`")
	flag.Parse()
	filter, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	cases := slices.Concat(conformance.Forwarding(), conformance.Schedulers(*seed, *each), conformance.Sequences(*seed, *random))
	cases = slices.DeleteFunc(cases, func(c wire.Case) bool { return !filter.MatchString(c.Name) })
	steps := 0
	for i := range cases {
		steps += len(cases[i].Steps)
	}
	fmt.Printf("seed %d: %d cases, %d steps; Linux %s\n", *seed, len(cases), steps, m.Version())
	start := time.Now()
	t := tally{cases: map[string]*wire.Case{}, played: map[string]bool{}}
	for i := range cases {
		t.cases[cases[i].Name] = &cases[i]
	}
	for part := range slices.Chunk(cases, *batch) {
		if err := m.Play(ctx, part, t.take); err != nil {
			return err
		}
	}
	for _, h := range conformance.Healed(t.played, t.accepted) {
		t.faults++
		fmt.Println(h)
	}
	for why, n := range t.reasons() {
		fmt.Printf("accepted in %d steps: %s\n", n, why)
	}
	fmt.Printf("%d of %d cases are the same, in %.0f s\n", t.same, len(cases), time.Since(start).Seconds())
	if t.faults > 0 {
		return fmt.Errorf("%w: %d cases (SEED=%d)", errDiffers, t.faults, *seed)
	}
	return nil
}

// tally is what came of the cases so far.
type tally struct {
	cases        map[string]*wire.Case
	played       map[string]bool
	accepted     []conformance.Difference
	same, faults int
}

// take compares a case's result with fastlb's.
func (t *tally) take(r *wire.Result) {
	c := t.cases[r.Name]
	if c == nil {
		fmt.Printf("%s: there is no such case\n", r.Name)
		t.faults++
		return
	}
	t.played[c.Name] = true
	if len(t.played)%50 == 0 {
		fmt.Printf("%d cases played\n", len(t.played))
	}
	found, err := conformance.Compare(c, r)
	if err != nil {
		fmt.Println(err)
		t.faults++
		return
	}
	var faults []conformance.Difference
	for _, d := range found {
		if d.Accepted == "" {
			faults = append(faults, d)
		} else {
			t.accepted = append(t.accepted, d)
		}
	}
	if len(faults) == 0 {
		t.same++
		return
	}
	t.faults++
	fmt.Printf("%s differs. What was done before:\n", c.Name)
	for i := range faults[0].Step {
		fmt.Printf("  %3d %8.3f %s\n", i+1, float64(r.Outcomes[i].At)/1e6, c.Steps[i].Text)
	}
	for i := range faults {
		fmt.Print(&faults[i])
	}
}

// reasons counts the accepted differences.
func (t *tally) reasons() map[string]int {
	n := map[string]int{}
	for i := range t.accepted {
		n[strings.TrimSpace(t.accepted[i].Accepted)]++
	}
	return n
}
