package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// hotFunc is a function marked //fastlb:hot.
type hotFunc struct {
	name, path, pkg string
	from, to        int // lines
	generic         bool
}

// hotFuncs finds the marked functions of the tree.
func hotFuncs(t *testing.T) (l []hotFunc) {
	t.Helper()
	for _, s := range sources(t, false) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Doc == nil || f.Body == nil {
				continue
			}
			for _, c := range f.Doc.List {
				switch word := strings.Fields(c.Text)[0]; {
				case word == "//fastlb:hot":
					h := hotFunc{name: f.Name.Name, path: s.path, pkg: s.pkg.ImportPath, from: s.fset.Position(f.Pos()).Line, to: s.fset.Position(f.End()).Line}
					h.generic = f.Type.TypeParams != nil
					if f.Recv != nil {
						h.name = receiver(f.Recv.List[0].Type, &h.generic) + "." + h.name
					}
					l = append(l, h)
				case strings.HasPrefix(word, "//fastlb:"):
					t.Errorf("%s: unknown mark %s on %s", s.path, word, f.Name.Name)
				}
			}
		}
	}
	if len(l) == 0 {
		t.Fatal("no function is marked //fastlb:hot")
	}
	return l
}

func receiver(e ast.Expr, generic *bool) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return "(*" + receiver(x.X, generic) + ")"
	case *ast.IndexExpr:
		*generic = true
		return receiver(x.X, generic)
	case *ast.Ident:
		return x.Name
	}
	return fmt.Sprintf("%T", e)
}

var diagnostic = regexp.MustCompile(`(?m)^(?:\./)?([^\s:]+\.go):(\d+):\d+: (.*)$`)

// said is a line of the compiler.
type said struct {
	path string
	line int
	text string
}

// compiler compiles packages with flags and returns its remarks; they are replayed from the build cache.
func compiler(t *testing.T, flags string, pkgs []string) (l []said) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-gcflags=" + flags}, pkgs...)...)
	cmd.Dir = root()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("go build -gcflags=%s: %v\n%s", flags, err, out.Bytes())
	}
	for _, m := range diagnostic.FindAllStringSubmatch(out.String(), -1) {
		n, _ := strconv.Atoi(m[2])
		l = append(l, said{m[1], n, m[3]})
	}
	return l
}

func hotPackages(hot []hotFunc) (l []string) {
	for _, h := range hot {
		if !slices.Contains(l, h.pkg) {
			l = append(l, h.pkg)
		}
	}
	return l
}

// TestHotFunctionsStayOffTheHeap: the compiler finds nothing in a hot function that escapes (S19b).
func TestHotFunctionsStayOffTheHeap(t *testing.T) {
	hot := hotFuncs(t)
	remarks := compiler(t, "-m", hotPackages(hot))
	for _, h := range hot {
		heard := false
		for _, r := range remarks {
			if r.path != h.path || r.line < h.from || r.line > h.to {
				continue
			}
			heard = true
			if strings.Contains(r.text, "escapes to heap") || strings.Contains(r.text, "moved to heap") {
				t.Errorf("%s:%d: %s allocates: %s", r.path, r.line, h.name, r.text)
			}
		}
		if !heard && !h.generic {
			t.Errorf("%s:%d: the compiler said nothing about %s: is it built?", h.path, h.from, h.name)
		}
	}
}

// inlined are functions that must stay small enough to be inlined: package, then the name as the compiler gives it.
var inlined = map[string][]string{
	"packet": {"AddrFrom16", "AddrFrom4", "Addr.Is4", "Addr.IsZero", "Addr.V4", "Addr.Put4", "Addr.Put16", "Addr.As16"},
	"flow":   {"(*Conn).LoadFlags", "(*Conn).State", "(*Conn).CASFlags", "(*Conn).Method", "(*Conn).IsTemplate"},
}

// TestInlined is netip's inlining test (S19c).
func TestInlined(t *testing.T) {
	for p, names := range inlined {
		var can []string
		for _, r := range compiler(t, "-m", []string{module + "/" + p}) {
			if n, ok := strings.CutPrefix(r.text, "can inline "); ok {
				can = append(can, strings.Fields(n)[0])
			}
		}
		for _, n := range names {
			if !slices.Contains(can, n) {
				t.Errorf("%s.%s is no longer inlined, or no longer there", p, n)
			}
		}
	}
}

// TestBoundsChecks counts the bounds checks that are left in files with hot functions; the counts may only fall (S19d).
func TestBoundsChecks(t *testing.T) {
	hot := hotFuncs(t)
	got := map[string]int{}
	for _, h := range hot {
		got[h.path] = 0
	}
	for _, r := range compiler(t, "-d=ssa/check_bce/debug=1", hotPackages(hot)) {
		for _, h := range hot {
			if h.path == r.path && r.line >= h.from && r.line <= h.to && strings.HasPrefix(r.text, "Found Is") {
				got[h.path]++
				break
			}
		}
	}
	file := filepath.Join("testdata", "bounds.txt")
	if *update {
		var l []string
		for p, n := range got {
			l = append(l, fmt.Sprintf("%s %d\n", p, n))
		}
		sort.Strings(l)
		if err := os.WriteFile(file, []byte(strings.Join(l, "")), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := map[string]int{}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		var p string
		var n int
		if _, err := fmt.Sscan(l, &p, &n); err != nil {
			t.Fatalf("%s: %q: %v", file, l, err)
		}
		want[p] = n
	}
	for p, n := range got {
		switch w := want[p]; {
		case n > w:
			t.Errorf("%s: %d bounds checks in hot functions, at most %d allowed: make the lengths known to the compiler, or, for a new file, run go test ./internal/arch -update", p, n, w)
		case n < w:
			t.Logf("%s: %d bounds checks in hot functions, fewer than the %d noted: run go test ./internal/arch -update", p, n, w)
		}
	}
}
