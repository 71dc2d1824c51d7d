package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// command is what the program can be asked to do.
type command struct {
	name, short string
	run         func(ctx context.Context, args []string) error
}

var commands = []command{
	{"packets", "packets a second and CPU time a packet: fastlb, a bare forwarder, asavie/xdp, nftables", comparePackets},
	{"latency", "how long packets take by load and by workers.poll; what an idle director costs", measureLatency},
	{"disturbances", "whether garbage collection, scraping, reloading and listing a million connections delay packets", measureDisturbances},
	{"connections", "ten million connections: memory, and ipvsadm -Lnc while packets flow", measureConnections},
	{"proxies", "connections and requests a second through fastlb's NAT, HAProxy and nginx stream", compareProxies},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		usage(os.Stderr)
		return errors.New("no command")
	}
	switch args[0] {
	case helperRing:
		return forwardRing(ctx, args[1:])
	case helperAsavie:
		return forwardAsavie(ctx, args[1])
	case helperVisit:
		return visit(ctx, args[1:])
	case helperServe:
		return serve(ctx, args[1:])
	case helperLoad:
		return load(ctx, args[1:])
	case "-h", "--help", "help":
		usage(os.Stdout)
		return nil
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	usage(os.Stderr)
	return fmt.Errorf("no command %q", args[0])
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "peers compares fastlb with others on this machine, in network namespaces of its own; it needs root and two CPUs.")
	fmt.Fprintln(w)
	for _, c := range commands {
		fmt.Fprintf(w, "  peers %-14s %s\n", c.name, c.short)
	}
	fmt.Fprintln(w, "\npeers COMMAND -h shows the command's flags.")
}

// options are the flags of a command and those that all have.
type options struct {
	*flag.FlagSet
	binary, write string
	tries         int
}

func newOptions(name string) *options {
	o := &options{FlagSet: flag.NewFlagSet("peers "+name, flag.ContinueOnError)}
	o.StringVar(&o.binary, "fastlb", "bin/fastlb", "the fastlb `PROGRAM`")
	o.IntVar(&o.tries, "tries", 3, "how often to measure where other programs use the machine meanwhile, 1 to 100")
	o.StringVar(&o.write, "write", "", "write the figures as JSON to this `FILE`")
	return o
}

func (o *options) parse(args []string) error {
	if err := o.Parse(args); err != nil {
		return err
	}
	if o.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q (%s -h shows the flags)", o.Arg(0), o.Name())
	}
	if o.tries < 1 || o.tries > 100 {
		return fmt.Errorf("-tries %d is not 1 to 100", o.tries)
	}
	return nil
}
