package main

import (
	"github.com/spf13/cobra"

	"github.com/fastlb/fastlb/api"
	"github.com/fastlb/fastlb/ipvsadm"
)

// lvsCommands are LVS's own programs that the binary also is, with what help says of each.
var lvsCommands = map[string]string{
	"ipvsadm":         "LVS's own command line, drop-in",
	"ipvsadm-save":    "print the table as rules for ipvsadm-restore",
	"ipvsadm-restore": "replace the table by the rules on standard input",
}

func newIpvsadm(e *env) *cobra.Command        { return e.newLVS("ipvsadm") }
func newIpvsadmSave(e *env) *cobra.Command    { return e.newLVS("ipvsadm-save") }
func newIpvsadmRestore(e *env) *cobra.Command { return e.newLVS("ipvsadm-restore") }

// newLVS makes the subcommand of one of LVS's programs. Its words are LVS's to understand: flags are not parsed here,
// -h included.
func (e *env) newLVS(name string) *cobra.Command {
	return &cobra.Command{
		Use:                name + " ARGS...",
		Short:              lvsCommands[name],
		DisableFlagParsing: true,
		Args:               cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if n := e.lvs(name, args); n != done {
				return status(n)
			}
			return nil
		},
	}
}

// lvs carries out one of LVS's programs against the director and returns its exit status.
func (e *env) lvs(name string, args []string) int {
	if e.socket == "" {
		e.socket = e.socketDefault()
	}
	return ipvsadm.Main(name, args, e.stdin, e.stdout, e.stderr, api.NewClient(e.socket))
}
