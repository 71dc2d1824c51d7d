package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses of every subcommand but ipvsadm, which has its own.
const (
	done   = 0
	failed = 1
	usage  = 2
)

// commands is the table of subcommands: one constructor each, in its own file, in the order that help lists them.
var commands = []func(*env) *cobra.Command{
	newRun,
	newReload,
	newStatus,
	newIpvsadm,
	newIpvsadmSave,
	newIpvsadmRestore,
	newBench,
	newCheck,
	newLab,
	newReplay,
	newVersion,
}

func main() {
	e := &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	os.Exit(run(e, os.Args))
}

// run is the whole program: argv in, exit status out. Under one of ipvsadm's names (a link to the binary) it is that
// command.
func run(e *env, argv []string) int {
	name := filepath.Base(argv[0])
	if _, ok := lvsCommands[name]; ok {
		return e.lvs(name, argv[1:])
	}
	root := newRoot(e)
	root.SetArgs(argv[1:])
	err := root.Execute()
	var s status
	switch {
	case err == nil:
		return done
	case errors.As(err, &s):
		return int(s)
	}
	fmt.Fprintf(e.stderr, "fastlb: %v\n", err)
	if wrong := (usageError{}); errors.As(err, &wrong) {
		return usage
	}
	return failed
}

// newRoot builds the tree of subcommands.
func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "fastlb COMMAND",
		Short: "An LVS director on AF_XDP: a layer 4 load balancer",
		// flags before the subcommand are the root's: what follows ipvsadm is not looked at
		TraverseChildren: true,
		SilenceErrors:    true,
		SilenceUsage:     true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("no command: say what to do; fastlb -h lists the commands")
			}
			return usagef("no such command %q: fastlb -h lists those that exist", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w: %s -h lists the flags", err, c.CommandPath())
	})
	root.Version = buildInfo().Version
	root.SetVersionTemplate("fastlb {{.Version}}\n")
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "\n  {{.CommandPath}} [command]", "", 1)) // the line above says it
	e.addFlags(root)
	for _, make := range commands {
		c := make(e)
		if c.Args == nil {
			c.Args = noArgs
		}
		root.AddCommand(c)
	}
	root.InitDefaultHelpCmd()
	if c, _, err := root.Find([]string{"help"}); err == nil {
		c.Short = "say more of a command"
	}
	return root
}

// noArgs refuses words after the flags.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s: unexpected argument %q: %[1]s -h shows the usage", c.CommandPath(), args[0])
	}
	return nil
}
