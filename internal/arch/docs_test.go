package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rows are the cells of the table rows of a Markdown file, heads and rulers excluded by the caller's look at cell 0.
func rows(text string) (l [][]string) {
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var cells []string
		for _, c := range strings.Split(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(c))
		}
		l = append(l, cells)
	}
	return l
}

// TestDependencies: docs/dependencies.md explains each direct dependency of go.mod, and no other.
func TestDependencies(t *testing.T) {
	var direct []string
	for _, l := range strings.Split(readFile(t, "go.mod"), "\n") {
		l = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(l), "require "))
		if f := strings.Fields(l); len(f) >= 2 && strings.HasPrefix(f[1], "v") && strings.Contains(f[0], ".") && !strings.Contains(l, "// indirect") {
			direct = append(direct, f[0])
		}
	}
	var explained []string
	for _, r := range rows(readFile(t, "docs/dependencies.md")) {
		if m, ok := strings.CutPrefix(r[0], "`"); ok && len(r) >= 3 {
			explained = append(explained, strings.TrimSuffix(m, "`"))
		}
	}
	for _, d := range direct {
		if !slices.Contains(explained, d) {
			t.Errorf("docs/dependencies.md says nothing about %s", d)
		}
	}
	for _, e := range explained {
		if !slices.Contains(direct, e) {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not require directly", e)
		}
	}
	if len(direct) == 0 {
		t.Error("no direct dependency found in go.mod")
	}
}

var testName = regexp.MustCompile("`([a-z0-9/]+): ((?:Test|Fuzz|Example)\\w*)[^`]*`")

// TestConformance: docs/conformance.md has a row for each feature of the specification, in its order, and each row says
// "not yet", or "n/a: " and why, or names tests that exist, as `package: TestName` or `package: TestName/case`.
func TestConformance(t *testing.T) {
	b, err := os.ReadFile("testdata/features.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(b))
	var got []string
	tests := map[string]string{} // package → its test files' text
	for _, r := range rows(readFile(t, "docs/conformance.md")) {
		if len(r) < 3 || !slices.Contains(want, r[0]) {
			if len(r) > 0 && regexp.MustCompile(`^[A-Z]+-[A-Z]+-\d\d$`).MatchString(r[0]) {
				t.Errorf("docs/conformance.md: %s is no feature of the specification", r[0])
			}
			continue
		}
		got = append(got, r[0])
		named := testName.FindAllStringSubmatch(r[2], -1)
		if len(named) == 0 && !strings.HasPrefix(r[2], "not yet") && !strings.HasPrefix(r[2], "n/a: ") {
			t.Errorf("%s names no test, and does not say \"not yet\" or why it has no meaning: %q", r[0], r[2])
		}
		for _, n := range named {
			if _, read := tests[n[1]]; !read {
				files, _ := filepath.Glob(filepath.Join(root(), n[1], "*_test.go"))
				for _, f := range files {
					text, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					tests[n[1]] += string(text)
				}
			}
			if !strings.Contains(tests[n[1]], "func "+n[2]+"(") {
				t.Errorf("%s names %s in %s, which does not exist", r[0], n[2], n[1])
			}
		}
	}
	if !slices.Equal(got, want) {
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("docs/conformance.md has no row for %s", w)
			}
		}
		t.Errorf("docs/conformance.md has %d rows of features, want %d in the specification's order", len(got), len(want))
	}
}

// TestDecisions: docs/decisions/README.md lists every decision, and its links lead somewhere.
func TestDecisions(t *testing.T) {
	index := readFile(t, "docs/decisions/README.md")
	files, _ := filepath.Glob(filepath.Join(root(), "docs/decisions/[0-9]*.md"))
	for _, f := range files {
		if !strings.Contains(index, "("+filepath.Base(f)+")") {
			t.Errorf("docs/decisions/README.md does not list %s", filepath.Base(f))
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)

// TestLinks: relative links of the documents lead to files of the tree.
func TestLinks(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(root(), "*.md"))
	err := filepath.WalkDir(filepath.Join(root(), "docs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), m[1])); err != nil {
				rel, _ := filepath.Rel(root(), f)
				t.Errorf("%s: the link to %s leads nowhere", rel, m[1])
			}
		}
	}
}
