package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/replay"
)

func newReplay(e *env) *cobra.Command {
	var file string
	var f replay.Files
	c := &cobra.Command{
		Use:   "replay --config FILE --read IN --write OUT",
		Short: "run the dataplane on a capture, offline and deterministic",
		Long: `Run the dataplane on a capture: packets in from a file, packets out to a file, with the packets' timestamps as the
clock. The same input gives the same output bytes. docs/replay.md has an example.`,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case file == "":
				return usagef("replay: no --config FILE: it describes interfaces, neighbors and services")
			case f.Read == "":
				return usagef("replay: no --read FILE: name a pcap or pcapng capture")
			case f.Workers < 1 || f.Workers > replay.MaxWorkers:
				return usagef("replay: --workers %d: choose 1 to %d", f.Workers, replay.MaxWorkers)
			}
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings {
				fmt.Fprintf(e.stderr, "fastlb: warning: %v\n", w)
			}
			f.Config = cfg
			return replay.Run(f, e.stdout)
		},
	}
	l := c.Flags()
	l.StringVar(&file, "config", "", "configuration `FILE` (YAML)")
	l.StringVar(&f.Read, "read", "", "capture `FILE` to read: pcap or pcapng, Ethernet")
	l.StringVar(&f.Write, "write", "", "capture `FILE` to write what was sent to: pcapng")
	l.StringVar(&f.Summary, "summary", "", "`FILE` to write a summary to: JSON")
	l.StringVar(&f.Connections, "connections", "", "`FILE` to write the connections at the end to, as ipvsadm -Lnc prints them")
	l.StringVar(&f.Commands, "commands", "", "`FILE` of commands to carry out on the way: lines of SECONDS COMMAND")
	l.IntVar(&f.Workers, "workers", 1, "`N` workers that share the packets by their RSS hash")
	return c
}
