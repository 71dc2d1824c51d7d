package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/capture"
	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/internal/clock"
)

// Files says what Run reads and writes. Empty names stand for "not wanted".
type Files struct {
	Config      *config.Config
	Read        string // capture
	Commands    string // command file
	Write       string // capture of what was sent
	Summary     string // JSON
	Connections string // the table at the end, as ipvsadm -Lnc prints it
	Workers     int    // 0: 1
}

// Run replays a capture. Files that it writes appear whole at the end, or not at all. What commands print goes to stdout
// as they are carried out.
func Run(f Files, stdout io.Writer) (err error) {
	r := &run{stdout: stdout}
	defer func() {
		if r.in != nil {
			r.in.Close()
		}
		err = errors.Join(err, r.outputs.discard())
	}()
	if err := r.open(&f); err != nil {
		return err
	}
	if err := r.play(); err != nil {
		return fmt.Errorf("--read %s: %w", f.Read, err)
	}
	if err := r.finish(); err != nil {
		return err
	}
	return r.outputs.commit()
}

// run is one replay of files.
type run struct {
	stdout   io.Writer
	engine   *Engine
	in       *os.File
	reader   *capture.Reader
	packet   capture.Packet // the next one
	end      bool           // there is none
	commands []Command      // still to come
	outputs  outputs
	writer   *capture.Writer
	failed   error // of writing, which the dataplane cannot report

	summary, connections *output // nil: not wanted
}

// open does everything that can fail before the first packet is handled.
func (r *run) open(f *Files) error {
	if err := r.openInputs(f); err != nil {
		return err
	}
	o, ops := FromConfig(f.Config)
	o.Workers = f.Workers
	o.Start = r.start()
	if err := r.openOutputs(f, &o); err != nil {
		return err
	}
	var err error
	if r.engine, err = New(o); err != nil {
		return err
	}
	return r.engine.Apply(ops...)
}

func (r *run) openInputs(f *Files) error {
	if f.Commands != "" {
		b, err := os.Open(f.Commands)
		if err != nil {
			return fmt.Errorf("--commands: %w", err)
		}
		r.commands, err = ReadCommands(b)
		b.Close()
		if err != nil {
			return fmt.Errorf("--commands %s: %w", f.Commands, err)
		}
	}
	var err error
	if r.in, err = os.Open(f.Read); err != nil {
		return fmt.Errorf("--read: %w", err)
	}
	if r.reader, err = capture.NewReader(r.in); err == nil {
		err = r.next()
	}
	if err != nil {
		return fmt.Errorf("--read %s: %w", f.Read, err)
	}
	return nil
}

// start is when the first thing happens.
func (r *run) start() clock.Time {
	switch {
	case r.end && len(r.commands) == 0:
		return 0
	case r.end:
		return r.commands[0].At
	case len(r.commands) == 0:
		return r.packet.Time
	}
	return min(r.packet.Time, r.commands[0].At)
}

func (r *run) openOutputs(f *Files, o *Options) (err error) {
	if f.Write != "" {
		out, err := r.outputs.create(f.Write, "--write")
		if err != nil {
			return err
		}
		names := make([]string, len(o.Network.Interfaces))
		for i := range names {
			names[i] = o.Network.Interfaces[i].Name
		}
		if r.writer, err = capture.NewWriter(out, names...); err != nil {
			return fmt.Errorf("--write %s: %w", f.Write, err)
		}
		o.Sent = r.sent
	}
	if f.Summary != "" {
		if r.summary, err = r.outputs.create(f.Summary, "--summary"); err != nil {
			return err
		}
	}
	if f.Connections != "" {
		if r.connections, err = r.outputs.create(f.Connections, "--connections"); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) sent(f Frame) {
	if r.failed == nil {
		r.failed = r.writer.Write(f.Block, f.At, f.Data)
	}
}

// next reads a packet.
func (r *run) next() error {
	err := r.reader.Next(&r.packet)
	if errors.Is(err, io.EOF) {
		r.end, err = true, nil
	}
	return err
}

// play takes packets and commands in the order of their times, commands first.
func (r *run) play() error {
	for r.failed == nil {
		for len(r.commands) > 0 && (r.end || r.commands[0].At <= max(r.packet.Time, r.engine.Now())) {
			if err := r.engine.Do(&r.commands[0], r.stdout); err != nil {
				return err
			}
			r.commands = r.commands[1:]
		}
		if r.end {
			break
		}
		r.engine.Receive(r.packet.Interface, r.packet.Time, r.packet.Data)
		if err := r.next(); err != nil {
			return err
		}
	}
	return r.failed
}

// finish writes what is known at the end only.
func (r *run) finish() error {
	if r.summary != nil {
		s, err := r.engine.Summary()
		if err != nil {
			return err
		}
		e := json.NewEncoder(r.summary)
		e.SetIndent("", "  ")
		if err := e.Encode(s); err != nil {
			return fmt.Errorf("--summary: %w", err)
		}
	}
	if r.connections != nil {
		var faults strings.Builder
		if status := r.engine.Ipvsadm([]string{"-L", "-n", "-c"}, r.connections, &faults); status != 0 {
			return fmt.Errorf("--connections: %s", strings.TrimSpace(faults.String()))
		}
	}
	return nil
}

// Do carries out a command of a file at its time, writing what it prints after a line that says which it was. An error
// is one of writing; a command that fails says so in the output.
func (e *Engine) Do(c *Command, w io.Writer) error {
	e.Advance(c.At)
	var out strings.Builder
	fmt.Fprintf(&out, "@ %s\n", c.Line)
	status := 0
	fail := func(err error) {
		if err != nil {
			status = 1
			fmt.Fprintf(&out, "%s: %v\n", c.Word, err)
		}
	}
	switch c.Word {
	case "ipvsadm":
		status = e.Ipvsadm(c.Args, &out, &out)
	case "tunable":
		fail(e.Apply(control.Op{Kind: control.SetTunable, Name: c.Args[0], Value: strings.Join(c.Args[1:], " ")}))
	case "interface":
		n, _ := strconv.ParseUint(c.Args[2], 10, 31)
		fail(e.SetMTU(c.Args[0], uint32(n)))
	case "neighbor":
		a, _ := netip.ParseAddr(c.Args[0])
		m, _ := net.ParseMAC(c.Args[1])
		fail(e.SetNeighbor(a, [6]byte(m)))
	}
	if status != 0 {
		if s := out.String(); !strings.HasSuffix(s, "\n") {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "= %d\n", status)
	}
	_, err := io.WriteString(w, out.String())
	return err
}
