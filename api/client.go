package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/service"
)

// Client speaks to a running director. It is safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

var _ ipvsadm.Engine = (*Client)(nil)

// ErrNotRunning says that no director answers on the socket.
var ErrNotRunning = errors.New("no director is running there: start one with `fastlb run`, or name its socket with --socket")

// notRunning is ErrNotRunning with what dialing said, which ipvsadm's own message wants.
type notRunning struct{ dial error }

func (e *notRunning) Error() string        { return ErrNotRunning.Error() }
func (e *notRunning) Is(target error) bool { return target == ErrNotRunning }
func (e *notRunning) Unwrap() error        { return e.dial }

// NewClient returns a client of the director behind the unix socket at path. Nothing is sent yet.
func NewClient(path string) *Client {
	return &Client{socket: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// do sends a request; on success the body is the caller's to close.
func (c *Client) do(method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequest(method, "http://fastlb"+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	switch {
	case err == nil:
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("socket %s: %w", c.socket, &notRunning{err})
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("socket %s: permission denied: be root or in its group: %w", c.socket, err)
	default:
		return nil, fmt.Errorf("socket %s: %w", c.socket, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	p := Problem{Status: resp.StatusCode}
	if !contentType(resp, "application/problem+json") || json.NewDecoder(resp.Body).Decode(&p) != nil {
		return nil, fmt.Errorf("socket %s: unexpected answer %s to %s %s", c.socket, resp.Status, method, path)
	}
	return nil, p.restore()
}

// call sends in, if any, and decodes the answer into out.
func (c *Client) call(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.do(method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("socket %s: answer to %s %s: %w", c.socket, method, path, err)
	}
	return nil
}

// Apply carries out operations in order until one fails.
func (c *Client) Apply(ops []control.Op) (applied int, err error) {
	var d Done
	err = c.call(http.MethodPost, "/v1/ops", ops, &d)
	if e := (*Error)(nil); errors.As(err, &e) && e.Applied != nil {
		return *e.Applied, err
	}
	return d.Applied, err
}

// Do carries out one operation.
func (c *Client) Do(op control.Op) error {
	_, err := c.Apply([]control.Op{op})
	return err
}

// Info is what the header of a listing says.
func (c *Client) Info() (i control.Info, err error) {
	err = c.call(http.MethodGet, "/v1/info", nil, &i)
	return i, err
}

// Services lists every service in the order it was added, its servers latest first.
func (c *Client) Services() ([]control.ServiceEntry, error) { return c.services("/v1/services") }

// Ages lists like Services, with what each server's active connections are made of; the director reads its whole
// connection table for that.
func (c *Client) Ages() ([]control.ServiceEntry, error) { return c.services("/v1/services?ages=true") }

func (c *Client) services(path string) ([]control.ServiceEntry, error) {
	var list []Service
	if err := c.call(http.MethodGet, path, nil, &list); err != nil {
		return nil, err
	}
	out := make([]control.ServiceEntry, len(list))
	for i := range list {
		e, err := list[i].entry()
		if err != nil {
			return nil, fmt.Errorf("socket %s: %w", c.socket, err)
		}
		out[i] = e
	}
	return out, nil
}

// Connections calls yield for each connection and template, as they arrive, until one call returns an error.
func (c *Client) Connections(yield func(control.ConnEntry) error) error {
	resp, err := c.do(http.MethodGet, "/v1/connections", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d := json.NewDecoder(bufio.NewReaderSize(resp.Body, 64<<10))
	for {
		var v Connection
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var e control.ConnEntry
		if err == nil {
			e, err = v.entry()
		}
		if err != nil {
			return fmt.Errorf("socket %s: connections: %w", c.socket, err)
		}
		if err := yield(e); err != nil {
			return err
		}
	}
}

// Timeouts are those that ipvsadm --set changes.
func (c *Client) Timeouts() (t service.Timeouts, err error) {
	err = c.call(http.MethodGet, "/v1/timeouts", nil, &t)
	return t, err
}

// Daemons lists the running synchronisation daemons.
func (c *Client) Daemons() (list []control.Daemon, err error) {
	err = c.call(http.MethodGet, "/v1/daemons", nil, &list)
	return list, err
}

// Status is a picture of the director.
func (c *Client) Status() (s director.Status, err error) {
	err = c.call(http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Reload has the director read its configuration file again.
func (c *Client) Reload() (r director.Reloaded, err error) {
	err = c.call(http.MethodPost, "/v1/reload", nil, &r)
	return r, err
}
