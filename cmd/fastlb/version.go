package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version and commit are set by the release build (-ldflags -X); otherwise Go's own build information says them.
var version, commit string

// build is what `fastlb version` prints.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Kernel   string `json:"kernel"`
}

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print version, commit, Go and kernel",
		RunE: func(*cobra.Command, []string) error {
			b := buildInfo()
			return e.print(b, func(w io.Writer) {
				fmt.Fprintf(w, "fastlb %s\ncommit %s\n%s %s\nkernel %s\n", b.Version, b.Commit, b.Go, b.Platform, b.Kernel)
			})
		},
	}
}

// buildInfo gathers what is known of this binary and the kernel under it; what is not known is "unknown".
func buildInfo() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Kernel: "unknown"}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		b.Kernel = strings.TrimSpace(string(release))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if b.Commit == "" && s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
	}
	if b.Version == "" {
		b.Version = "unknown"
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}
