package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fastlb/fastlb/lab"
)

func newLab(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "lab up|run|down",
		Short: "a whole LVS site in network namespaces: for a demo, for learning, for tests",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("fastlb lab: say up, run or down")
			}
			return usagef("fastlb lab: no such command %q: it is up, run or down", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(newLabSite(e, "up", "build the site, leave it standing and say how to try it", (*lab.Lab).Up))
	c.AddCommand(newLabSite(e, "run", "build the site, send requests, say who answered, and remove it", (*lab.Lab).Run))
	c.AddCommand(newLabSite(e, "down", "remove the site, or what a killed lab has left of it", func(l *lab.Lab, _ context.Context) error { return l.Down() }))
	c.AddCommand(newLabServer(), newLabEnter())
	return c
}

// newLabSite is one of up, run and down.
func newLabSite(e *env, name, short string, do func(*lab.Lab, context.Context) error) *cobra.Command {
	l := &lab.Lab{Out: e.stdout}
	server := "auto"
	c := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			switch server {
			case "auto":
				l.Nginx = lab.FindNginx()
			case "nginx":
				if l.Nginx = lab.FindNginx(); l.Nginx == "" {
					return errors.New("nginx is not installed: apt-get install nginx-light, or --server builtin")
				}
			case "builtin":
			default:
				return usagef("fastlb lab: --server %q: it is auto, nginx or builtin", server)
			}
			var err error
			if l.Binary, err = os.Executable(); err != nil {
				return fmt.Errorf("find the fastlb executable: %w", err)
			}
			l.Colour = isTerminal(e.stdout) && e.getenv("NO_COLOR") == ""
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			return do(l, ctx)
		},
	}
	f := c.Flags()
	f.StringVar(&l.Options.Prefix, "prefix", lab.DefaultPrefix, "`NAME` that the namespaces' names begin with")
	if name != "down" {
		f.IntVar(&l.Options.Queues, "queues", 1, "queues of each interface")
		f.StringVar(&l.Attach, "attach", "auto", "how AF_XDP attaches: auto, zerocopy, copy or generic")
		f.StringVar(&server, "server", server, "the real servers' HTTP server: auto, nginx or builtin")
	}
	if name == "run" {
		f.IntVar(&l.Requests, "requests", 60, "HTTP requests to each service")
	}
	return c
}

// newLabServer is what runs in a real server's namespace.
func newLabServer() *cobra.Command {
	var name string
	var ports []uint
	c := &cobra.Command{
		Use:    "server",
		Short:  "one of the lab's real servers, in the network namespace that it is started in",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			list := make([]uint16, 0, len(ports))
			for _, p := range ports {
				if p == 0 || p > 65535 {
					return usagef("fastlb lab server: port %d: it is 1 to 65535", p)
				}
				list = append(list, uint16(p))
			}
			return lab.Serve(ctx, name, list)
		},
	}
	c.Flags().StringVar(&name, "name", "", "the name that it answers with")
	c.Flags().UintSliceVar(&ports, "ports", nil, "TCP ports of its HTTP server")
	return c
}

// newLabEnter is `ip netns exec` for machines without ip.
func newLabEnter() *cobra.Command {
	c := &cobra.Command{
		Use:    "enter NAMESPACE PROGRAM [ARGS...]",
		Short:  "run a program in a network namespace",
		Hidden: true,
		Args:   cobra.MinimumNArgs(2),
		RunE:   func(_ *cobra.Command, args []string) error { return lab.Enter(args[0], args[1:]) },
	}
	c.Flags().SetInterspersed(false)
	return c
}

// isTerminal says whether w is one.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
