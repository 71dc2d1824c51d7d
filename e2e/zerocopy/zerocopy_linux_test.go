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
	c := lab.DirectorConfig{Attach: "zerocopy", Services: services(b.Plan)}
	b.launch(c)
	b.attached("eth0 zerocopy, eth1 zerocopy", 1)
	b.forward()
	b.reckon()
	for i, w := range b.status().Workers {
		if w.Memory.Copied != 0 {
			t.Errorf("worker %d copied %d frames", i, w.Memory.Copied)
		}
	}

	// The driver has its queues back: the next director binds them as this one did.
	b.stop()
	b.direct(c)
	b.attached("eth0 zerocopy, eth1 zerocopy", 1)
	b.exchange(t, service(b.Plan, "nat", 4), bulk)
	b.reckon()
}

// TestMixed has a NIC that can do zero copy and one that cannot: each does its best, and NAT's packets, which go from one
// to the other, are copied.
func TestMixed(t *testing.T) {
	b := boot(t, zeroCopyNIC, copyNIC)
	b.direct(lab.DirectorConfig{Services: services(b.Plan)})
	s := b.attached("eth0 zerocopy, eth1 copy", 2)
	if s.Interfaces[1].Why == "" {
		t.Error("the status does not say why eth1 copies")
	}
	b.forward()
	b.reckon()
	for i, w := range b.status().Workers {
		if w.Memory.Copied == 0 {
			t.Errorf("worker %d copied nothing", i)
		}
	}
}

// attached looks at how the interfaces were attached, and into how many groups that share frames.
func (b *bed) attached(modes string, groups int) status {
	b.t.Helper()
	s := b.status()
	if got := s.modes(); got != modes || len(s.Groups) != groups {
		b.t.Fatalf("modes: %s, %d groups; want %s, %d", got, len(s.Groups), modes, groups)
	}
	for _, i := range s.Interfaces {
		if len(i.Queues) != queues {
			b.t.Errorf("%s has queues %v, want %d", i.Name, i.Queues, queues)
		}
	}
	return s
}

// reckon waits until no packet is on its way and looks whether every frame is where it belongs: free, or given to a NIC
// for receiving.
func (b *bed) reckon() {
	b.t.Helper()
	b.eventually(func() error {
		for i, w := range b.status().Workers {
			m := w.Memory
			if m.Received != 0 || m.Sending != 0 || m.Held != 0 || m.Missing != 0 || m.Free+m.Filled+m.InDriver != w.Frames {
				return fmt.Errorf("worker %d of %d frames: %+v", i, w.Frames, m)
			}
		}
		return nil
	})
	for i, w := range b.status().Workers {
		b.t.Logf("worker %d: %d frames: %d free, %d in fill rings, %d in NICs; %d were copied; drops %v",
			i, w.Frames, w.Memory.Free, w.Memory.Filled, w.Memory.InDriver, w.Memory.Copied, w.Drops)
	}
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
			b.exchange(t, service(b.Plan, w.method, w.family), bulk)
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
func (b *bed) exchange(t *testing.T, service lab.Service, bytes int) {
	client := b.HTTPClient(lab.Client, 2*patience)
	results := make(chan error, connections)
	for i := range connections {
		go func() {
			results <- echo(client, "http://"+service.Address.String()+"/echo", byte(i), bytes/connections)
		}()
	}
	for range connections {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// echo posts a connection's part and compares what comes back.
func echo(client *http.Client, url string, seed byte, size int) error {
	data := make([]byte, size)
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
