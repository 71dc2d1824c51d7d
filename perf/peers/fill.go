package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fastlb/fastlb/lab"
)

// fillRate is how many new connections a second the generator offers to fill a table: fewer than the director takes.
const fillRate = 300_000

// fill makes connections until the director has n: flows clientPorts and up. What is lost on the way is not sent again,
// others follow; far more than n are an error.
func (f *forwarder) fill(ctx context.Context, n uint64) (entries uint64, err error) {
	var s *source
	err = lab.In(f.source.namespace, func() (err error) {
		s, err = newSource(f.source.namespace, f.outs[:1], plan{flows: 1, sequential: true}, nil)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.clock.Put(uint32(0), sourceClock{Next: clientPorts}); err != nil {
		return 0, fmt.Errorf("set the generator's clock: %w", err)
	}
	for offered := uint64(0); offered < 3*n+fillRate; {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		st, err := f.status(ctx)
		if err != nil {
			return 0, err
		}
		if entries = st.Flows.Entries; entries >= n {
			return entries, nil
		}
		piece := min(n-entries, fillRate)
		if err := s.pace(piece, pacedBurst, fillRate); err != nil {
			return 0, err
		}
		offered += piece
	}
	return entries, fmt.Errorf("only %d of %d connections could be made; the director printed:\n%s", entries, n, f.output())
}

// status is what the measurements read of /v1/status.
type status struct {
	Flows struct {
		Entries uint64 `json:"entries"`
		Bytes   int64  `json:"bytes"`
	} `json:"flows"`
	Workers []struct {
		Frames int64 `json:"frames"`
	} `json:"workers"`
}

// umemBytes is the size of all workers' packet memory.
func (s status) umemBytes() (sum int64) {
	for _, w := range s.Workers {
		sum += w.Frames << 12
	}
	return sum
}

// api is a client of the director's socket.
func api(socket string) *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}}
}

func (f *forwarder) status(ctx context.Context) (s status, err error) {
	client := api(f.socket)
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://fastlb/v1/status", nil)
	if err != nil {
		return s, err
	}
	response, err := client.Do(request)
	if err != nil {
		return s, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("/v1/status: %w", err)
	}
	return s, nil
}

// metric reads a value from the director's /metrics, which listens in its namespace.
func (f *forwarder) metric(name string) (value float64, err error) {
	err = lab.In(f.namespace, func() error {
		c, err := net.DialTimeout("tcp", metricsAddr, time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		b, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				value, err = strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return err
			}
		}
		return fmt.Errorf("/metrics has no %s", name)
	})
	return value, err
}
