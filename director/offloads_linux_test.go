package director

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Offloads are put back by the director that switched them off, and where that one was killed by the next: at once what it
// does not switch off itself, else at its end.
func TestOffloads(t *testing.T) {
	s := newSite(t)
	s.in(&s.director)
	settings := s.config.Flows.State + ".settings"
	index := s.director.link(t, "c").Attrs().Index
	key := fmt.Sprintf("offload %d rx-gro c", index)
	start := func(attach string, gro bool) *Director {
		t.Helper()
		for i := range s.config.Interfaces {
			s.config.Interfaces[i].Attach = attach
		}
		d := s.start()
		if on := groOf(t, d, "c"); on != gro {
			t.Errorf("while a director runs with attach: %s GRO is on: %v", attach, on)
		}
		return d
	}
	// end stops a director; groOf cannot ask it any more.
	end := func(d *Director) {
		t.Helper()
		s.in(&s.director)
		ok(t, d.Stop())
		if _, err := os.Stat(settings); !os.IsNotExist(err) {
			t.Errorf("it is still written what is to be put back: %v", err)
		}
	}
	d := start("copy", false)
	s.in(&s.director)
	ok(t, d.tool.Change("c", map[string]bool{offloadGRO: true})) // a veth has none by itself
	end(d)

	d = start("generic", false)
	text, err := os.ReadFile(settings)
	if want := fmt.Sprintf(`{"key":%q,"found":"on","set":"off"}`, key); err != nil || !strings.Contains(string(text), want) {
		t.Errorf("written down: %s, %v; want %s", text, err, want)
	}
	// What a director that is killed leaves: the file, in the name of a process that is no more, and GRO off.
	var file map[string]any
	ok(t, json.Unmarshal(text, &file))
	file["process"].(map[string]any)["start"] = 1
	left, err := json.Marshal(file)
	ok(t, err)
	end(d)
	d = start("copy", true) // it was put back
	s.in(&s.director)
	ok(t, d.tool.Change("c", map[string]bool{offloadGRO: false}))
	end(d)
	ok(t, os.WriteFile(settings, left, 0o600))

	end(start("generic", false))
	d = start("copy", true) // by the end of the one that followed the killed one
	s.in(&s.director)
	ok(t, d.tool.Change("c", map[string]bool{offloadGRO: false}))
	end(d)
	ok(t, os.WriteFile(settings, left, 0o600))

	end(start("copy", true)) // at once: it leaves GRO on
	end(start("copy", true))
}

func groOf(t *testing.T, d *Director, name string) bool {
	t.Helper()
	have, err := d.tool.Features(name)
	ok(t, err)
	return have[offloadGRO]
}
