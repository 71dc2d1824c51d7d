package director

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sysctl is a setting below /proc/sys. The tree shown there is that of the calling thread's network namespace.
type sysctl struct {
	name     string // with slashes: interface names have dots
	value    string
	optional bool // the kernel may not have it
}

func (s sysctl) write() error {
	if err := os.WriteFile(filepath.Join("/proc/sys", s.name), []byte(s.value), 0); err != nil {
		return fmt.Errorf("sysctl %s = %s: %w", s.name, s.value, err)
	}
	return nil
}

func readSysctl(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/proc/sys", name))
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}
