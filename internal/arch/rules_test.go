package arch

import (
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPackageDocs: exactly one file of a package has its documentation.
func TestPackageDocs(t *testing.T) {
	docs := map[string][]string{}
	for _, p := range tree(t) {
		if len(p.GoFiles) > 0 {
			docs[p.short()] = nil
		}
	}
	for _, s := range sources(t, false) {
		if s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != "" {
			docs[s.pkg.short()] = append(docs[s.pkg.short()], s.path)
		}
	}
	for name, files := range docs {
		if len(files) != 1 {
			t.Errorf("package %s: want one package comment, found %d: %v", name, len(files), files)
		}
	}
}

// unsafeFiles are the only files that may import unsafe: each turns raw memory into typed slices, checked once, and holds
// no logic (S10). Tests may use unsafe.Sizeof and Offsetof.
var unsafeFiles = []string{
	"flow/memory_unsafe.go",   // the table's memory as buckets and records
	"flow/mmap_unsafe.go",     // the state file as memory
	"numa/policy_unsafe.go",   // mbind, sched_setaffinity
	"ring/map_unsafe.go",      // the kernel's rings
	"service/slots_unsafe.go", // server slots in memory that outlives the process
	"tune/rss_unsafe.go",      // RSS tables to and from drivers
	"worker/view_unsafe.go",   // a packet's headers as an array
}

func TestUnsafe(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t, false) {
		if s.imports("unsafe") == "" || ast.IsGenerated(s.file) {
			continue
		}
		seen[s.path] = true
		if !slices.Contains(unsafeFiles, s.path) || !strings.HasSuffix(s.path, "_unsafe.go") {
			t.Errorf("%s imports unsafe and is not a listed *_unsafe.go file", s.path)
		}
		if n := s.fset.Position(s.file.End()).Line; n >= 150 {
			t.Errorf("%s has %d lines; files with unsafe stay under 150", s.path, n)
		}
	}
	for _, f := range unsafeFiles {
		if !seen[f] {
			t.Errorf("%s is listed as a file with unsafe, but is none", f)
		}
	}
}

// clockless are the packages in which time is an argument (S17, S28).
var clockless = []string{"packet", "service", "perf", "flow", "sched", "modes", "neigh", "worker", "control", "replay", "ring", "capture", "internal/twin", "config", "ipvsadm"}

// TestClock: below the director nothing reads the clock or sleeps.
func TestClock(t *testing.T) {
	banned := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	for _, s := range sources(t, false) {
		if !slices.Contains(clockless, s.pkg.short()) {
			continue
		}
		s.uses("time", func(name string, line int) {
			if slices.Contains(banned, name) {
				t.Errorf("%s:%d: time.%s in a package whose time is an argument", s.path, line, name)
			}
		})
	}
}

// TestNoSleepInTests: a test that sleeps is slow or flaky (S28).
func TestNoSleepInTests(t *testing.T) {
	for _, s := range sources(t, true) {
		if !strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		s.uses("time", func(name string, line int) {
			if name == "Sleep" {
				t.Errorf("%s:%d: time.Sleep in a test", s.path, line)
			}
		})
	}
}

// TestNoGlobalLoggers: a logger is passed in (S24). The commands' own tools may print.
func TestNoGlobalLoggers(t *testing.T) {
	for _, s := range sources(t, false) {
		if s.pkg.Name == "main" {
			continue
		}
		for path, names := range map[string][]string{
			"log":             nil, // anything
			"log/slog":        {"Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log"},
			"go.uber.org/zap": {"L", "S", "ReplaceGlobals", "RedirectStdLog"},
		} {
			s.uses(path, func(name string, line int) {
				if names == nil || slices.Contains(names, name) {
					t.Errorf("%s:%d: %s.%s is a global logger", s.path, line, path, name)
				}
			})
		}
	}
}

// TestNoLeftovers: real code only. Words that announce unfinished work do not land, nor skipped tests without a probe.
func TestNoLeftovers(t *testing.T) {
	words := []string{"TO" + "DO", "FIX" + "ME", "X" + "XX:"}
	err := filepath.WalkDir(root(), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !slices.Contains([]string{".go", ".c", ".h", ".md", ".s"}, filepath.Ext(path)) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, l := range strings.Split(string(b), "\n") {
			for _, w := range words {
				if strings.Contains(l, w) {
					rel, _ := filepath.Rel(root(), path)
					t.Errorf("%s:%d: %s", rel, i+1, w)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
