package arch

import (
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/fastlb/fastlb"

var update = flag.Bool("update", false, "write the figures in testdata anew")

// pkg is what `go list` says about a package of the tree.
type pkg struct {
	ImportPath, Dir, Name string
	GoFiles               []string
	TestGoFiles           []string
	XTestGoFiles          []string
	Imports, Deps         []string
}

// short is the path within the module.
func (p pkg) short() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

var root = sync.OnceValue(func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
})

var packages = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,GoFiles,TestGoFiles,XTestGoFiles,Imports,Deps", "./...")
	cmd.Dir = root()
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var l []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return l, nil
		} else if err != nil {
			return nil, err
		}
		l = append(l, p)
	}
})

func tree(t *testing.T) []pkg {
	t.Helper()
	l, err := packages()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return l
}

// source is a parsed file of the tree.
type source struct {
	pkg  pkg
	path string // from the root
	file *ast.File
	fset *token.FileSet
}

// sources parses every file, tests included when asked.
func sources(t *testing.T, tests bool) (l []source) {
	t.Helper()
	fset := token.NewFileSet()
	for _, p := range tree(t) {
		names := p.GoFiles
		if tests {
			names = append(append(append([]string(nil), p.GoFiles...), p.TestGoFiles...), p.XTestGoFiles...)
		}
		for _, n := range names {
			path := filepath.Join(p.Dir, n)
			f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(root(), path)
			l = append(l, source{p, rel, f, fset})
		}
	}
	return l
}

// imports tells under which name a file knows a package; "" if it does not import it.
func (s source) imports(path string) string {
	for _, i := range s.file.Imports {
		if strings.Trim(i.Path.Value, `"`) != path {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return path[strings.LastIndex(path, "/")+1:]
	}
	return ""
}

// uses calls f for each use of a package's member in a file.
func (s source) uses(path string, f func(name string, line int)) {
	local := s.imports(path)
	if local == "" {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == local && id.Obj == nil {
				f(sel.Sel.Name, s.fset.Position(sel.Pos()).Line)
			}
		}
		return true
	})
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
