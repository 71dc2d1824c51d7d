package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/lab"
)

const (
	bulkSize      = 10 << 20
	parallel      = 200
	fragmented    = 8 << 10
	datagramCount = 20
)

// Every forwarding method, family and protocol, through every kind of attachment, over one queue and two.
func TestForward(t *testing.T) {
	for _, attach := range []string{"copy", "generic"} {
		for _, queues := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/%dq", attach, queues), func(t *testing.T) {
				s := site(t, lab.Options{Queues: queues})
				direct(t, s, lab.DirectorConfig{Attach: attach, Services: services(s.Plan)})
				checkAttached(t, s, attach, queues)
				for _, p := range paths {
					t.Run(p.String(), func(t *testing.T) {
						t.Run("bulk", func(t *testing.T) { checkBulk(t, s, p) })
						t.Run("parallel", func(t *testing.T) { checkParallel(t, s, p) })
						t.Run("udp", func(t *testing.T) { checkDatagrams(t, s, p) })
						t.Run("fragments", func(t *testing.T) { checkFragments(t, s, p) })
					})
				}
			})
		}
	}
}

// checkAttached reads back that the director got what it was told to take, on both interfaces.
func checkAttached(t *testing.T, s *lab.Site, attach string, queues int) {
	t.Helper()
	metrics, err := s.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []string{"eth0", "eth1"} {
		found := false
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "fastlb_interface_attach_info{") && strings.Contains(line, `"`+i+`"`) {
				found = true
				if !strings.Contains(line, `mode="`+attach+`"`) {
					t.Errorf("asked for %s, got %s", attach, line)
				}
			}
		}
		if !found {
			t.Errorf("no attach mode of %s in the metrics", i)
		}
	}
	for q := range queues {
		if label := fmt.Sprintf(`queue="%d"`, q); !strings.Contains(metrics, label) {
			t.Errorf("no %s in the metrics: the queue is not taken", label)
		}
	}
}

// checkBulk sends 10 MB and gets them back over the same connection, both at once.
func checkBulk(t *testing.T, s *lab.Site, p path) {
	data := make([]byte, bulkSize)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	url := "http://" + p.bulk(s.Plan).Address.String() + "/echo"
	r, err := s.HTTPClient(lab.Client, 4*patience).Post(url, "application/octet-stream", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil || n != bulkSize || r.StatusCode != http.StatusOK {
		t.Fatalf("%d of %d bytes came back, %s, %v", n, bulkSize, r.Status, err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("what came back is not what was sent")
	}
}

// checkParallel opens 200 connections, asks over all of them while all are open, and counts who answered.
func checkParallel(t *testing.T, s *lab.Site, p path) {
	service := p.bulk(s.Plan)
	type answer struct {
		name string
		err  error
	}
	answers := make(chan answer, parallel)
	opened, ask := make(chan struct{}, parallel), make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	for range parallel {
		go func() {
			c, err := s.Dial(ctx, lab.Client, "tcp", service.Address.String())
			opened <- struct{}{}
			if err != nil {
				answers <- answer{err: err}
				return
			}
			defer c.Close()
			<-ask
			name, err := newConn(c).ask()
			answers <- answer{name, err}
		}()
	}
	for range parallel {
		<-opened
	}
	close(ask)
	counts := map[string]int{}
	for range parallel {
		if a := <-answers; a.err != nil {
			t.Error(a.err)
		} else {
			counts[a.name]++
		}
	}
	for _, r := range service.Servers {
		if n := counts[r.Name]; n < parallel/len(service.Servers) || n > parallel/len(service.Servers)+1 {
			t.Errorf("%s answered %d of %d: rr promises a third; %v", r.Name, n, parallel, counts)
		}
	}
}

// checkDatagrams exchanges datagrams over one socket: one connection, so one server.
func checkDatagrams(t *testing.T, s *lab.Site, p path) {
	c := dial(t, s, p.echo(s.Plan))
	var first string
	for i := range datagramCount {
		payload := strings.Repeat("u", i*60)
		name, answer, err := exchange(c, payload)
		if err != nil || answer != payload {
			t.Fatalf("datagram %d: %d of %d bytes from %q, %v", i, len(answer), len(payload), name, err)
		}
		if first == "" {
			first = name
		}
		if name != first {
			t.Errorf("datagram %d of one connection was answered by %s, the first by %s", i, name, first)
		}
	}
}

// checkFragments sends a datagram of 8 KB, which needs six fragments each way.
func checkFragments(t *testing.T, s *lab.Site, p path) {
	c := dial(t, s, p.echo(s.Plan))
	payload := make([]byte, fragmented)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(payload)
	name, answer, err := exchange(c, string(payload))
	if err != nil {
		t.Fatal(err)
	}
	if answer != string(payload) {
		t.Errorf("%d of %d bytes came back from %s, or others", len(answer), len(payload), name)
	}
}
