package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// clientPorts is how many flows the packets of a comparison belong to.
const clientPorts = 1024

// contest is forwarders that do the same to the same packets on alike sites.
type contest struct {
	title   string
	bare    kind // what the others are set in relation to
	nothing kind
	others  []kind
}

var contests = []contest{
	{"One arm: packets come in and go out by one veth, all to the service.",
		ringOne, nothing1, []kind{fastlbDR, asavieOne}},
	{"Two arms: requests and replies by turns, from the clients' veth to the servers' and back.",
		ringTwo, nothing2, []kind{fastlbNAT, nftables}},
}

// flooded is what one round at full speed gave.
type flooded struct {
	rate         float64 // packets forwarded a second
	user, system float64 // CPU time of the forwarder's process a packet, ns
}

// paced is what one round at a rate that everybody can take gave.
type paced struct {
	busy float64 // CPU time of the whole machine a packet, ns
	lost float64 // of the packets offered
}

// packetResult is a line of the table.
type packetResult struct {
	Name    string  `json:"name"`
	Arms    int     `json:"arms"`
	Mpps    float64 `json:"mpps"`
	OfBare  float64 `json:"of_bare"`
	User    float64 `json:"user_ns"`
	System  float64 `json:"system_ns"`
	Machine float64 `json:"machine_ns"` // the whole machine's at the paced rate, less the generator's
	Lost    float64 `json:"lost"`       // at the paced rate
}

type packetReport struct {
	Machine machine        `json:"machine"`
	Rounds  int            `json:"rounds"`
	Rate    float64        `json:"paced_rate"`
	Results []packetResult `json:"results"`
}

func comparePackets(ctx context.Context, args []string) (err error) {
	o := newOptions("packets")
	rounds := o.Int("rounds", 5, "rounds of each forwarder, 1 to 100")
	duration := o.Duration("duration", time.Second, "`TIME` of a round, 100ms to 1m")
	rate := o.Float64("rate", 200_000, "packets a second in the rounds that measure CPU time, 1000 to 10 million")
	arms := o.Int("arms", 0, "only the comparison with this number of `VETHS`, 1 or 2; 0: both")
	if err := o.parse(args); err != nil {
		return err
	}
	if *arms < 0 || *arms > 2 || *rounds < 1 || *rounds > 100 || *duration < 100*time.Millisecond || *duration > time.Minute || *rate < 1000 || *rate > 1e7 {
		return errors.New("a flag is out of its range: see -h")
	}
	s, err := newSite(o.binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	report := packetReport{Machine: thisMachine(), Rounds: *rounds, Rate: *rate}
	fmt.Printf("%s\nmedians of %d interleaved rounds of %v; veths of one queue, AF_XDP in copy mode\n", report.Machine, *rounds, *duration)
	n := noise{tries: o.tries}
	for _, c := range contests {
		if *arms > 0 && c.bare.arms != *arms {
			continue
		}
		results, err := c.run(ctx, s, *rounds, *duration, *rate, &n)
		if err != nil {
			return err
		}
		c.print(results, *rate)
		report.Results = append(report.Results, results...)
	}
	fmt.Print(n)
	return writeJSON(o.write, report)
}

// run measures all in interleaved rounds, and returns the bare forwarder's line first.
func (c contest) run(ctx context.Context, s *site, rounds int, d time.Duration, rate float64, n *noise) ([]packetResult, error) {
	var all []*forwarder
	for _, k := range append([]kind{c.nothing, c.bare}, c.others...) {
		f, err := s.start(k, plan{flows: clientPorts})
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	floods, paces := make([][]flooded, len(all)), make([][]paced, len(all))
	for round := range rounds + 1 {
		for i, f := range all {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			var p paced
			var m flooded
			err := n.undisturbed(func() (err error) {
				if p, err = f.pace(d, rate); err == nil && f.kind.forwards {
					m, err = f.flood(d)
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.kind.name, err)
			}
			if round > 0 { // the first warms up
				floods[i], paces[i] = append(floods[i], m), append(paces[i], p)
			}
		}
	}
	busy := func(i int) float64 { return medianOf(paces[i], func(p paced) float64 { return p.busy }) }
	var results []packetResult
	for i, f := range all[1:] {
		i++
		r := packetResult{
			Name: f.kind.name, Arms: f.kind.arms,
			Mpps:    medianOf(floods[i], func(m flooded) float64 { return m.rate }) / 1e6,
			User:    medianOf(floods[i], func(m flooded) float64 { return m.user }),
			System:  medianOf(floods[i], func(m flooded) float64 { return m.system }),
			Machine: busy(i) - busy(0),
			Lost:    medianOf(paces[i], func(p paced) float64 { return p.lost }),
		}
		// The ratio is of the rounds beside each other: what the machine does meanwhile falls on both.
		ratios := make([]float64, rounds)
		for n := range ratios {
			ratios[n] = floods[i][n].rate / floods[1][n].rate
		}
		r.OfBare = median(ratios)
		results = append(results, r)
	}
	return results, nil
}

func (c contest) print(results []packetResult, rate float64) {
	fmt.Printf("\n%s\n\n", c.title)
	rows := [][]string{{"", "Mpps", "of ring", "user", "system", "machine", "lost"}}
	for _, r := range results {
		user, system := fmt.Sprintf("%.0f", r.User), fmt.Sprintf("%.0f", r.System)
		if r.User+r.System == 0 {
			user, system = "-", "-"
		}
		rows = append(rows, []string{r.Name, fmt.Sprintf("%.3f", r.Mpps), fmt.Sprintf("%.3f", r.OfBare), user, system,
			fmt.Sprintf("%.0f", r.Machine), fmt.Sprintf("%.2f %%", 100*r.Lost)})
	}
	table(os.Stdout, rows)
	fmt.Printf("\n  user, system: the process's own CPU time, ns a packet, at full speed. machine: all CPU time, softirqs included,\n"+
		"  at %.0f packets a second, less what the generator alone takes. lost: of the packets at that rate.\n", rate)
}

// flood offers packets to the forwarder as fast as the generator can, and sees what comes back.
func (f *forwarder) flood(d time.Duration) (flooded, error) {
	pid := 0
	if f.process != nil {
		pid = f.process.Pid()
	}
	times := func() (user, system time.Duration, err error) {
		if pid == 0 {
			return 0, 0, nil
		}
		return cpuTime(pid)
	}
	user, system, err := times()
	if err != nil {
		return flooded{}, err
	}
	before, err := f.count()
	if err != nil {
		return flooded{}, err
	}
	start := time.Now()
	offered, err := f.source.flood(d)
	if err != nil {
		return flooded{}, err
	}
	elapsed := time.Since(start)
	after, err := f.count()
	if err != nil {
		return flooded{}, err
	}
	userAfter, systemAfter, err := times()
	if err != nil {
		return flooded{}, fmt.Errorf("%w; it printed:\n%s", err, f.output())
	}
	n := float64(after - before)
	if n == 0 {
		return flooded{}, fmt.Errorf("nothing of %d packets came back; it printed:\n%s", offered, f.output())
	}
	return flooded{
		rate:   n / elapsed.Seconds(),
		user:   float64((userAfter - user).Nanoseconds()) / n,
		system: float64((systemAfter - system).Nanoseconds()) / n,
	}, nil
}

// pacedBurst is how many packets the generator sends at once when it has a rate: a fraction of any ring.
const pacedBurst = 512

// pace offers packets at a rate, and sees what the machine spends on them.
func (f *forwarder) pace(d time.Duration, rate float64) (paced, error) {
	before, err := f.count()
	if err != nil {
		return paced{}, err
	}
	busy, err := busyTime()
	if err != nil {
		return paced{}, err
	}
	n := (uint64(rate*d.Seconds())/pacedBurst + 1) * pacedBurst
	if err := f.source.pace(n, pacedBurst, rate); err != nil {
		return paced{}, err
	}
	busyAfter, err := busyTime()
	if err != nil {
		return paced{}, err
	}
	time.Sleep(10 * time.Millisecond) // the last packets are on their way
	after, err := f.count()
	if err != nil {
		return paced{}, err
	}
	return paced{busy: float64((busyAfter - busy).Nanoseconds()) / float64(n), lost: 1 - float64(after-before)/float64(n)}, nil
}
