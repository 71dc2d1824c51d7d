package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"syscall"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// Problem is an error on the wire (RFC 9457). Errno and What are those of the *service.Error in the chain.
type Problem struct {
	Type    string `json:"type"` // about:blank, or problemNotYet
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`            // the whole message
	Errno   int    `json:"errno,omitempty"`   // Linux's number
	What    string `json:"what,omitempty"`    // the refusal without the name of the thing
	Applied *int   `json:"applied,omitempty"` // operations that were carried out before the one that failed
}

// Types of problems that the client tells apart.
const (
	problemBlank  = "about:blank"
	problemNotYet = "https://fastlb.github.io/problems/not-yet"
)

// newProblem describes err; status is used where the error itself does not say.
func newProblem(err error, status int) Problem {
	p := Problem{Type: problemBlank, Status: status, Detail: err.Error()}
	var refused *service.Error
	var notYet *control.NotYet
	switch {
	case errors.As(err, &notYet):
		p.Type, p.Status, p.What = problemNotYet, http.StatusNotImplemented, notYet.What
	case errors.As(err, &refused):
		p.Errno, p.What, p.Status = int(refused.Errno), refused.What, statusOf(refused.Errno)
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// statusOf is the HTTP status nearest to an errno.
func statusOf(e syscall.Errno) int {
	switch e {
	case syscall.EEXIST:
		return http.StatusConflict
	case syscall.ESRCH, syscall.ENOENT:
		return http.StatusNotFound
	case syscall.ENOMEM:
		return http.StatusInsufficientStorage
	}
	return http.StatusUnprocessableEntity
}

func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that went away is no concern of ours
}

// Error is the client's error for a Problem. Its text is what the director said; errors.As finds the *service.Error or
// *control.NotYet that the director met.
type Error struct {
	Problem
	cause error
}

func (e *Error) Error() string { return e.Detail }
func (e *Error) Unwrap() error { return e.cause }

// refusals are the sentinels that come back as themselves.
var refusals = []*service.Error{
	service.ErrServiceExists, service.ErrNoScheduler, service.ErrNoService, service.ErrServerExists, service.ErrNoServer,
	service.ErrInvalid, service.ErrRange, service.ErrFamily, service.ErrFull, service.ErrNoTunable, service.ErrDaemonRuns, service.ErrNoDaemon,
}

// restore makes the error out of what came over the wire.
func (p Problem) restore() error {
	e := &Error{Problem: p}
	switch {
	case p.Type == problemNotYet:
		e.cause = &control.NotYet{What: p.What}
	case p.Errno != 0:
		for _, r := range refusals {
			if int(r.Errno) == p.Errno && r.What == p.What {
				e.cause = r
				return e
			}
		}
		e.cause = &service.Error{Errno: syscall.Errno(p.Errno), What: p.What}
	}
	return e
}
