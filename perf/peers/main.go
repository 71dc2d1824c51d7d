package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// CPUs of the two sides.
const (
	generatorCPU = 0
	forwarderCPU = 1
)

func main() {
	var err error
	if len(os.Args) == 3 && (os.Args[1] == ringName || os.Args[1] == asavieName) {
		err = forward(os.Args[1], os.Args[2])
	} else {
		err = compare()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// forward is a forwarder's process: it swaps MAC addresses on an interface until it is told to end.
func forward(kind, ifname string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if kind == asavieName {
		return forwardAsavie(ctx, ifname)
	}
	return forwardRing(ctx, ifname)
}

// measurement is what one round of one forwarder gave.
type measurement struct {
	rate         float64 // packets forwarded a second
	user, system float64 // CPU time a packet, ns
}

func compare() (err error) {
	binary := flag.String("fastlb", "bin/fastlb", "the fastlb `PROGRAM`")
	rounds := flag.Int("rounds", 7, "rounds of each forwarder, 1 to 100")
	packets := flag.Uint("packets", 4<<20, "packets that the generator offers in a round, 4 to 64 million")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *rounds > 100 || *packets < 4_000_000 || *packets > 64<<20 {
		flag.Usage()
		return errors.New("bad usage")
	}
	if os.Geteuid() != 0 {
		return errors.New("namespaces and AF_XDP need root")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	s, err := newSite()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var forwarders []*forwarder
	for _, name := range []string{fastlbName, ringName, asavieName} {
		f, err := s.start(name, *binary)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		forwarders = append(forwarders, f)
	}
	results := make(map[string][]measurement)
	for round := range *rounds + 1 {
		for _, f := range forwarders {
			m, err := f.measure(uint32(*packets))
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			if round > 0 { // the first warms up
				results[f.name] = append(results[f.name], m)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	print(forwarders, results, *packets)
	return nil
}

func print(forwarders []*forwarder, results map[string][]measurement, packets uint) {
	fmt.Printf("%d packets offered a round, medians of %d interleaved rounds; one veth, one queue, copy mode\n\n",
		packets, len(results[forwarders[0].name]))
	fmt.Printf("  %-12s %8s %14s %16s %10s\n", "", "Mpps", "user ns/packet", "system ns/packet", "of ring")
	rate := func(m measurement) float64 { return m.rate }
	bare := median(results[ringName], rate)
	for _, f := range forwarders {
		r := results[f.name]
		fmt.Printf("  %-12s %8.3f %14.0f %16.0f %9.2f×\n", f.name,
			median(r, rate)/1e6,
			median(r, func(m measurement) float64 { return m.user }),
			median(r, func(m measurement) float64 { return m.system }),
			median(r, rate)/bare)
	}
}

func median(all []measurement, of func(measurement) float64) float64 {
	values := make([]float64, len(all))
	for i, m := range all {
		values[i] = of(m)
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// measure offers packets to the forwarder and sees what comes back.
func (f *forwarder) measure(packets uint32) (measurement, error) {
	user, system, err := cpuTime(f.process.Pid())
	if err != nil {
		return measurement{}, err
	}
	before, err := f.sink.count()
	if err != nil {
		return measurement{}, err
	}
	start := time.Now()
	if err := f.source.offer(packets); err != nil {
		return measurement{}, err
	}
	elapsed := time.Since(start)
	after, err := f.sink.count()
	if err != nil {
		return measurement{}, err
	}
	userAfter, systemAfter, err := cpuTime(f.process.Pid())
	if err != nil {
		return measurement{}, fmt.Errorf("%w; it printed:\n%s", err, f.process.Output())
	}
	n := float64(after - before)
	if n == 0 {
		return measurement{}, fmt.Errorf("nothing of %d packets came back; it printed:\n%s", packets, f.process.Output())
	}
	return measurement{
		rate:   n / elapsed.Seconds(),
		user:   float64((userAfter - user).Nanoseconds()) / n,
		system: float64((systemAfter - system).Nanoseconds()) / n,
	}, nil
}
