package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// conn is a connection over which HTTP requests are sent one after another.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func newConn(c net.Conn) *conn { return &conn{c, bufio.NewReader(c)} }

// ask sends one request and returns the name that answers.
func (c *conn) ask() (string, error) {
	if err := c.send(); err != nil {
		return "", err
	}
	return c.receive()
}

func (c *conn) send() error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: e2e\r\n\r\n")
	return err
}

func (c *conn) receive() (string, error) {
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return strings.TrimSpace(string(body)), err
}

// exchange sends a datagram and returns the name and the payload of the answer. A lost datagram is sent again, as any
// client of UDP does: neighbours may still be unknown to somebody on the way.
func exchange(c net.Conn, payload string) (name, answer string, err error) {
	buf := make([]byte, 1<<16)
	for range 5 {
		if _, err = io.WriteString(c, payload); err != nil {
			return "", "", err
		}
		if err = c.SetReadDeadline(time.Now().Add(patience / 5)); err != nil {
			return "", "", err
		}
		var n int
		if n, err = c.Read(buf); err == nil {
			name, answer, _ = strings.Cut(string(buf[:n]), " ")
			return name, answer, nil
		}
		if nerr, ok := err.(net.Error); !ok || !nerr.Timeout() {
			break
		}
	}
	return "", "", fmt.Errorf("no answer to a datagram of %d bytes: %w", len(payload), err)
}
