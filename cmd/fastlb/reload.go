package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fastlb/fastlb/api"
)

func newReload(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "have the director read its configuration again and apply the difference",
		RunE: func(*cobra.Command, []string) error {
			done, err := api.NewClient(e.socket).Reload()
			if err != nil {
				return err
			}
			return e.print(done, func(w io.Writer) {
				for _, line := range done.Changes {
					fmt.Fprintln(w, line)
				}
				if len(done.Changes) == 0 {
					fmt.Fprintln(w, "nothing changed")
				}
				for _, line := range done.Warnings {
					fmt.Fprintln(e.stderr, "fastlb: warning:", line)
				}
			})
		},
	}
}
