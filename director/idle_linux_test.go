package director

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/service"
)

// cpu is the CPU time that this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	ok(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// datagrams makes a UDP service with an echo behind it, and a client that speaks to it.
func (s *site) datagrams() *net.UDPConn {
	s.t.Helper()
	one := served(vip, service.NAT, 1)
	one.Spec.ID.Protocol = service.UDP
	s.config.Services = append(s.config.Services, one)
	s.in(&s.server)
	echo, err := net.ListenPacket("udp4", "10.20.0.2:80")
	ok(s.t, err)
	s.t.Cleanup(func() { echo.Close() })
	go func() {
		var b [64]byte
		for {
			n, from, err := echo.ReadFrom(b[:])
			if err != nil {
				return
			}
			echo.WriteTo(b[:n], from)
		}
	}()
	s.in(&s.client)
	c, err := net.Dial("udp4", vip+":80")
	ok(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	ok(s.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c.(*net.UDPConn)
}

// ask sends one datagram and waits for its echo.
func ask(t *testing.T, c *net.UDPConn) time.Duration {
	t.Helper()
	start := time.Now()
	_, err := c.Write([]byte("?"))
	ok(t, err)
	var b [8]byte
	if n, err := c.Read(b[:]); err != nil || n != 1 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return time.Since(start)
}

// theWorker is the status of the only worker.
func theWorker(t *testing.T, d *Director) WorkerStatus {
	t.Helper()
	st, err := d.Status()
	ok(t, err)
	return st.Workers[0]
}

// rest lets real time pass: what is measured is what a process does when nothing happens.
func rest(d time.Duration) { <-time.After(d) }

// Without traffic a director in the modes that sleep uses no more than a hundredth of a CPU, and its worker wakes no more
// than its timer has it; a packet that then comes is forwarded at once.
func TestIdle(t *testing.T) {
	for _, mode := range []string{"adaptive", "interrupt"} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t)
			s.config.Workers.Poll = mode
			c := s.datagrams()
			d := s.start()
			ask(t, c) // resolves neighbours
			// A process is also charged the interrupts that come while it runs, others' among them, and is kept waiting for its
			// CPU by whoever else wants it: one quiet second counts.
			var share, wakes float64
			quiet := false
			for range 5 {
				polls, before, start := theWorker(t, d).Syscalls.Poll, cpu(t), time.Now()
				rest(time.Second)
				used, span := cpu(t)-before, time.Since(start)
				share = float64(used) / float64(span)
				wakes = float64(theWorker(t, d).Syscalls.Poll-polls) / span.Seconds()
				if quiet = share <= 0.01 && wakes >= 5 && wakes <= 15; quiet {
					break
				}
			}
			t.Logf("%.2f %% of a CPU, %.1f wakes a second", 100*share, wakes)
			if !quiet {
				t.Errorf("idle, it uses %.2f %% of a CPU and wakes %.1f times a second", 100*share, wakes)
			}
			// A lost wakeup would be made up for by the worker's timer, on average after half of wakeInterval.
			var took []time.Duration
			for range 9 {
				rest(wakeInterval / 8)
				took = append(took, ask(t, c))
			}
			slices.Sort(took)
			if median := took[len(took)/2]; median > wakeInterval/5 {
				t.Errorf("single packets and their answers took %v", took)
			}
			w := theWorker(t, d)
			if w.Syscalls.Receive != 0 || w.Syscalls.Send > w.TXPackets {
				t.Errorf("%d packets sent, calls %+v", w.TXPackets, w.Syscalls)
			}
		})
	}
}

// An interrupt worker sleeps after every empty round, a busy one never.
func TestPollModes(t *testing.T) {
	for _, mode := range []string{"busy", "interrupt"} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t)
			s.config.Workers.Poll = mode
			c := s.datagrams()
			d := s.start()
			for range 20 {
				ask(t, c)
			}
			ok(t, d.Stop()) // so that the counters stand still
			stats := d.runners[0].worker.Stats()
			empty, sleeps := stats.Rounds.Load()-stats.Busy.Load(), stats.Sleeps.Load()
			switch {
			case mode == "busy" && (sleeps != 0 || empty < 100):
				t.Errorf("busy: %d empty rounds, %d sleeps", empty, sleeps)
			case mode == "interrupt" && (sleeps != empty || empty == 0):
				t.Errorf("interrupt: %d empty rounds, %d sleeps", empty, sleeps)
			}
		})
	}
}
