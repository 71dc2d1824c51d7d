package zerocopy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/fastlb/fastlb/lab"
)

// TestZeroCopy forwards through two NICs that can do zero copy: NAT from one to the other, DR in and out of the first.
func TestZeroCopy(t *testing.T) {
	b := boot(t, zeroCopyNIC, zeroCopyNIC)
	b.direct(lab.DirectorConfig{Attach: "zerocopy", Services: services(b.Plan)})
	s := b.status()
	if got, want := s.modes(), "eth0 zerocopy, eth1 zerocopy"; got != want {
		t.Fatalf("modes: %s, want %s", got, want)
	}
	b.forward()
}

// ways are a forwarding method and a family each.
var ways = []struct {
	method string
	family int
}{{"nat", 4}, {"nat", 6}, {"dr", 4}, {"dr", 6}}

// services are one for each way.
func services(p *lab.Plan) (all []lab.Service) {
	for _, w := range ways {
		all = append(all, service(p, w.method, w.family))
	}
	return all
}

func service(p *lab.Plan, method string, family int) lab.Service {
	s := p.Service(method, family).On(p, "tcp", lab.BulkPort, family)
	s.Scheduler = "rr"
	return s
}

// forward sends data over every way, and looks whether every worker took its part.
func (b *bed) forward() {
	for _, w := range ways {
		b.t.Run(fmt.Sprintf("%s/v%d", w.method, w.family), func(t *testing.T) {
			before := b.status()
			start := time.Now()
			b.exchange(t, service(b.Plan, w.method, w.family))
			after := b.status()
			t.Logf("%d MB both ways in %.1f s", bulk>>20, time.Since(start).Seconds())
			if len(after.Workers) != queues {
				t.Fatalf("%d workers, want %d", len(after.Workers), queues)
			}
			for i := range after.Workers {
				n := after.Workers[i].TXPackets - before.Workers[i].TXPackets
				t.Logf("worker %d sent %d packets", i, n)
				if n == 0 {
					t.Errorf("worker %d forwarded nothing: %d connections came by one queue", i, connections)
				}
			}
		})
	}
}

const (
	bulk        = 10 << 20 // bytes each way
	connections = 16       // at a time, each with its part of them
)

// exchange sends data to a service over several connections at a time, which send them back, and compares.
func (b *bed) exchange(t *testing.T, service lab.Service) {
	client := b.HTTPClient(lab.Client, 2*patience)
	results := make(chan error, connections)
	for i := range connections {
		go func() { results <- echo(client, "http://"+service.Address.String()+"/echo", byte(i)) }()
	}
	for range connections {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// echo posts a connection's part and compares what comes back.
func echo(client *http.Client, url string, seed byte) error {
	data := make([]byte, bulk/connections)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	r, err := client.Post(url, "application/octet-stream", bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil || n != int64(len(data)) || r.StatusCode != http.StatusOK {
		return fmt.Errorf("%d of %d bytes came back, %s, %v", n, len(data), r.Status, err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
		return fmt.Errorf("connection %d: what came back is not what was sent", seed)
	}
	return nil
}
