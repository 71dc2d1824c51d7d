package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/fastlb/fastlb/config"
)

// defaultConfig is the configuration's standing name.
const defaultConfig = "/etc/fastlb/fastlb.yaml"

// invalid is what a configuration that is not valid prints as JSON.
type invalid struct {
	Valid  bool          `json:"valid"`
	Faults config.Faults `json:"faults"`
}

func newCheck(e *env) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "check [--config FILE]",
		Short: "validate a configuration and print what it means",
		RunE: func(*cobra.Command, []string) error {
			c, err := config.Load(file)
			var faults config.Faults
			switch {
			case err == nil:
				return e.print(c.Summary(), c.Describe)
			case errors.As(err, &faults) && e.output == jsonOutput:
				if err := e.print(invalid{Faults: faults}, nil); err != nil {
					return err
				}
				return status(failed)
			}
			return err
		},
	}
	c.Flags().StringVar(&file, "config", defaultConfig, "the configuration `FILE`")
	return c
}
