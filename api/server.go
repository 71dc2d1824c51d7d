package api

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/service"
)

// Director is what the API speaks for. Every method may be called by any goroutine.
type Director interface {
	// Apply carries out operations in order, and stops at the first that fails; applied is how many went before it.
	Apply(ops []control.Op) (applied int, err error)
	Info() (control.Info, error)
	Services() ([]control.ServiceEntry, error)
	// Ages lists like Services, with what the servers' active connections are made of, for which it reads the whole table.
	Ages() ([]control.ServiceEntry, error)
	Connections(yield func(control.ConnEntry) error) error
	Timeouts() (service.Timeouts, error)
	Daemons() ([]control.Daemon, error)
	Status() (director.Status, error)
	// Reload applies the difference to the configuration file as it is now, and says what it changed.
	Reload() (director.Reloaded, error)
}

// maxBody bounds what a client may send: ten thousand operations fit a hundred times over.
const maxBody = 64 << 20

// Handler answers the API's requests.
func Handler(d Director) http.Handler {
	s := &server{d: d}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", get(func(*http.Request) (any, error) { return d.Status() }))
	mux.HandleFunc("GET /v1/info", get(func(*http.Request) (any, error) { return d.Info() }))
	mux.HandleFunc("GET /v1/timeouts", get(func(*http.Request) (any, error) { return d.Timeouts() }))
	mux.HandleFunc("GET /v1/daemons", get(func(*http.Request) (any, error) {
		list, err := d.Daemons()
		if list == nil {
			list = []control.Daemon{}
		}
		return list, err
	}))
	mux.HandleFunc("GET /v1/services", get(s.services))
	mux.HandleFunc("GET /v1/services/{id}", get(func(r *http.Request) (any, error) { return s.service(r) }))
	mux.HandleFunc("GET /v1/services/{id}/servers", get(func(r *http.Request) (any, error) {
		v, err := s.service(r)
		return v.Servers, err
	}))
	mux.HandleFunc("GET /v1/connections", s.connections)
	mux.HandleFunc("POST /v1/ops", s.ops)
	mux.HandleFunc("POST /v1/reload", s.reload)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if list := allowed(mux, r); list != "" {
			w.Header().Set("Allow", list)
			fail(w, fmt.Errorf("%s %s: use %s", r.Method, r.URL.Path, list), http.StatusMethodNotAllowed)
			return
		}
		fail(w, fmt.Errorf("%s %s: there is no such resource; /v1/status, /v1/info, /v1/services, /v1/connections, /v1/timeouts, /v1/daemons, /v1/ops and /v1/reload are", r.Method, r.URL.Path), http.StatusNotFound)
	})
	return mux
}

// allowed lists the methods that a request's resource has; "" if there is no such resource.
func allowed(mux *http.ServeMux, r *http.Request) string {
	var list []string
	for _, m := range []string{http.MethodGet, http.MethodPost} {
		probe := *r
		probe.Method = m
		if _, pattern := mux.Handler(&probe); pattern != "/" {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}

type server struct{ d Director }

// get makes a handler out of a function that has something to show.
func get(show func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := show(r)
		if err != nil {
			fail(w, err, http.StatusInternalServerError)
			return
		}
		reply(w, v)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a client that went away is no concern of ours
}

func fail(w http.ResponseWriter, err error, status int) {
	p := newProblem(err, status)
	p.write(w)
}

// services lists; with ?ages=true it says what the active connections are made of.
func (s *server) services(r *http.Request) (any, error) {
	list, err := s.list(r)
	if err != nil {
		return nil, err
	}
	return Show(list), nil
}

func (s *server) list(r *http.Request) ([]control.ServiceEntry, error) {
	ages, err := strconv.ParseBool(cmp.Or(r.URL.Query().Get("ages"), "false"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("ages=%s: write true or false: %w", r.URL.Query().Get("ages"), service.ErrInvalid)
	case ages:
		return s.d.Ages()
	}
	return s.d.Services()
}

func (s *server) service(r *http.Request) (Service, error) {
	id, err := ParseID(r.PathValue("id"))
	if err != nil {
		return Service{}, fmt.Errorf("%w: %w", err, service.ErrInvalid)
	}
	list, err := s.list(r)
	if err != nil {
		return Service{}, err
	}
	for i := range list {
		if list[i].Spec.ID == id {
			return show(&list[i]), nil
		}
	}
	return Service{}, fmt.Errorf("%s: %w", id, service.ErrNoService)
}

// connections streams. An error on the way breaks the connection off, so that the client cannot take half for all.
func (s *server) connections(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	b := bufio.NewWriterSize(w, 64<<10)
	e := json.NewEncoder(b)
	sent := false
	err := s.d.Connections(func(c control.ConnEntry) error {
		sent = true
		return e.Encode(showConnection(&c))
	})
	if err == nil {
		err = b.Flush()
	} else if !sent {
		fail(w, err, http.StatusInternalServerError)
		return
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// Done is the answer to /v1/ops.
type Done struct {
	Applied int `json:"applied"`
}

func (s *server) ops(w http.ResponseWriter, r *http.Request) {
	var ops []control.Op
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&ops); err != nil {
		fail(w, fmt.Errorf("body is not a list of operations: %w", err), http.StatusBadRequest)
		return
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		fail(w, errors.New("body has something after the list of operations"), http.StatusBadRequest)
		return
	}
	applied, err := s.d.Apply(ops)
	if err != nil {
		p := newProblem(err, http.StatusInternalServerError)
		p.Applied = &applied
		p.write(w)
		return
	}
	reply(w, Done{applied})
}

func (s *server) reload(w http.ResponseWriter, r *http.Request) {
	done, err := s.d.Reload()
	if err != nil {
		fail(w, err, http.StatusUnprocessableEntity)
		return
	}
	reply(w, done)
}

// ContentType tells whether a response's type is the one given, parameters aside.
func contentType(r *http.Response, want string) bool {
	t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.TrimSpace(t) == want
}
