package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Request is what the host asks of a guest that serves requests (guest.Serve). They are answered one after another.
type Request struct {
	// Do is run, start, stop (SIGTERM), kill (SIGKILL), write, read, log, off, or what the guest's program adds to these.
	Do   string
	Args []string `json:",omitempty"` // run, start: a program and its arguments
	Name string   `json:",omitempty"` // start: of the program's output file, and of the program for stop and kill; write, read: a file
	Data []byte   `json:",omitempty"` // write: what is in the file
}

// Answer is what came of a request.
type Answer struct {
	Data   []byte `json:",omitempty"` // run: what it printed; read: the file; log: the kernel's messages
	Stderr string `json:",omitempty"` // run
	Status int    // run, stop, kill: the program's exit status, -1 if a signal ended it
	Error  string `json:",omitempty"` // the request could not be carried out
}

// Client asks a guest. It belongs to one goroutine.
type Client struct {
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

// NewClient speaks over a machine's port. The guest's first word, before any request, says that it is ready.
func NewClient(port net.Conn) *Client {
	return &Client{conn: port, in: json.NewDecoder(port), out: json.NewEncoder(port)}
}

// Ready waits until the guest can be asked.
func (c *Client) Ready(patience time.Duration) error {
	_, err := c.answer(patience)
	return err
}

func (c *Client) answer(patience time.Duration) (a Answer, err error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return a, err
	}
	if err := c.in.Decode(&a); err != nil {
		return a, fmt.Errorf("the guest does not answer: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Ask carries out one request. The guest gets as long as patience says; after an error for want of an answer the guest is of
// no use.
func (c *Client) Ask(patience time.Duration, r Request) (Answer, error) {
	if err := c.out.Encode(r); err != nil {
		return Answer{}, fmt.Errorf("ask the guest: %w", err)
	}
	a, err := c.answer(patience)
	if err != nil {
		return a, fmt.Errorf("guest: %s %s: %w", r.Do, strings.Join(append([]string{r.Name}, r.Args...), " "), err)
	}
	return a, nil
}

// Run runs a program in the guest to its end and returns what it printed on standard output; a status other than 0 is an
// error that says what it printed on the other.
func (c *Client) Run(patience time.Duration, argv ...string) ([]byte, error) {
	a, err := c.Ask(patience, Request{Do: "run", Args: argv})
	if err == nil && a.Status != 0 {
		err = fmt.Errorf("guest: %s: status %d: %s", strings.Join(argv, " "), a.Status, strings.TrimSpace(a.Stderr))
	}
	return a.Data, err
}
