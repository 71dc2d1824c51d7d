package director

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

func TestStore(t *testing.T) {
	if openStore("") != nil {
		t.Error("a store without a state file")
	}
	dir := t.TempDir()
	s := openStore(filepath.Join(dir, "flows"))
	if f, err := s.read(); f != nil || err != nil {
		t.Fatalf("an empty store holds %+v, %v", f, err)
	}
	cfg := config.Default()
	id := service.ID{Family: 6, Protocol: service.UDP, Addr: netip.MustParseAddr("2001:db8::1"), Port: 53}
	table := []control.Op{
		{Kind: control.AddService, Service: service.Spec{ID: id, Scheduler: "sh", Flags: 3, Persistent: true, Timeout: 9, Netmask: 64}},
		{Kind: control.AddServer, Service: service.Spec{ID: id}, Server: service.ServerSpec{ServerID: service.ServerID{Addr: id.Addr, Port: 1}, Method: service.Tunnel, Tunnel: service.GUE, TunPort: 7, Weight: 4}},
	}
	if s.later() {
		t.Error("the first change waits")
	}
	if err := s.write(cfg, table); err != nil {
		t.Fatal(err)
	}
	f, err := s.read()
	if err != nil || !reflect.DeepEqual(f.Table, table) || len(config.Diff(cfg, f.Config)) != 0 {
		t.Errorf("read %+v, %v", f, err)
	}
	if err := s.sync(); err != nil || s.dirty {
		t.Errorf("sync: %v", err)
	}
	s.last = time.Hour
	if s.later() {
		t.Error("a change of a small table waits")
	}
	s.size = smallTable + 1
	if !s.later() || !s.dirty {
		t.Error("a change right after a long write does not wait")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files left: %v", files)
	}
	for text, want := range map[string]string{"{": "unexpected end", `{"version":9}`: "version 9"} {
		if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	s.path = filepath.Join(dir, "none", "x")
	if err := s.write(cfg, nil); err == nil {
		t.Error("written into no directory")
	}
	if err := s.sync(); err == nil {
		t.Error("what is not there is durable")
	}
}
