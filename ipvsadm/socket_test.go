package ipvsadm_test

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/fastlb/fastlb/api"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
)

// remote is the table as the director's API offers it.
type remote struct{ *engine }

func (r *remote) Apply(ops []control.Op) (int, error) {
	for i, op := range ops {
		if err := r.Do(op); err != nil {
			return i, err
		}
	}
	return len(ops), nil
}

func (r *remote) Status() (s director.Status, err error)   { return }
func (r *remote) Reload() (s director.Reloaded, err error) { return }
func (r *remote) Ages() ([]control.ServiceEntry, error)    { return r.Services() }

// TestRecordedOverSocket runs the recordings again through the API and its client, which must lose nothing.
func TestRecordedOverSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	table := &remote{}
	server := &http.Server{Handler: api.Handler(table)}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		for _, c := range readCases(t, file) {
			table.engine = newEngine()
			t.Run(c.name, func(t *testing.T) { c.run(t, api.NewClient(path)) })
		}
	}
}
