package replay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/internal/clock"
)

// Command is one line of a command file.
type Command struct {
	At   clock.Time // when it is carried out
	Line string     // as written: SECONDS COMMAND
	Word string     // ipvsadm, tunable, interface or neighbor
	Args []string
}

// SyntaxError is a line of a command file that cannot be read.
type SyntaxError struct {
	Line int // counts from 1
	What string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.What) }

// ReadCommands reads a command file: lines of SECONDS COMMAND, # begins a comment, empty lines are passed over. The
// commands come back in the order of their times; those of one time stay in the file's order. Every faulty line is
// reported, each as a *SyntaxError.
func ReadCommands(r io.Reader) ([]Command, error) {
	var out []Command
	var faults []error
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	n := 0
	for in.Scan() {
		n++
		words, err := Words(in.Text())
		if err == nil && len(words) == 0 {
			continue
		}
		var c Command
		if err == nil {
			c, err = parseCommand(words)
		}
		if err != nil {
			faults = append(faults, &SyntaxError{n, err.Error()})
			continue
		}
		c.Line = strings.TrimSpace(in.Text())
		out = append(out, c)
	}
	if err := in.Err(); err != nil {
		faults = append(faults, &SyntaxError{n + 1, err.Error()})
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	slices.SortStableFunc(out, func(a, b Command) int {
		switch {
		case a.At < b.At:
			return -1
		case a.At > b.At:
			return 1
		}
		return 0
	})
	return out, nil
}

func parseCommand(w []string) (c Command, err error) {
	if c.At, err = Seconds(w[0]); err != nil {
		return c, err
	}
	if len(w) < 2 {
		return c, errors.New("a time without a command: want SECONDS COMMAND")
	}
	c.Word, c.Args = w[1], w[2:]
	return c, c.check()
}

// check tells whether the command can be carried out at all, whatever its outcome.
func (c *Command) check() error {
	switch c.Word {
	case "ipvsadm":
	case "tunable":
		if len(c.Args) < 2 {
			return errors.New("want tunable NAME VALUE")
		}
	case "interface":
		if len(c.Args) != 3 || c.Args[1] != "mtu" {
			return errors.New("want interface NAME mtu N")
		}
		if _, err := strconv.ParseUint(c.Args[2], 10, 31); err != nil {
			return fmt.Errorf("MTU %q is not a number of bytes", c.Args[2])
		}
	case "neighbor":
		if len(c.Args) != 2 {
			return errors.New("want neighbor ADDRESS MAC")
		}
		if _, err := netip.ParseAddr(c.Args[0]); err != nil {
			return fmt.Errorf("%q is not an IP address", c.Args[0])
		}
		if m, err := net.ParseMAC(c.Args[1]); err != nil || len(m) != 6 {
			return fmt.Errorf("%q is not a MAC address such as 02:00:00:00:00:01", c.Args[1])
		}
	default:
		return fmt.Errorf("no command %q: there are ipvsadm, tunable, interface and neighbor", c.Word)
	}
	return nil
}

// Seconds reads a time in seconds, exactly to the nanosecond; decimals beyond the ninth do not count.
func Seconds(s string) (clock.Time, error) {
	whole, frac, point := strings.Cut(s, ".")
	if whole == "" && frac != "" {
		whole = "0"
	}
	sec, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || sec >= uint64(clock.Never/clock.Second) || strings.Trim(frac, "0123456789") != "" || point && frac == "" {
		return 0, fmt.Errorf("%q is not a time in seconds", s)
	}
	ns, _ := strconv.ParseUint((frac + "000000000")[:9], 10, 63)
	return clock.Time(sec)*clock.Second + clock.Time(ns), nil
}

// Words splits a line as a shell does: blanks part words, quotes and backslashes keep them together, # where a word
// would begin ends the line.
func Words(s string) ([]string, error) {
	var out []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t' || c == '\r'):
			if in {
				out = append(out, word.String())
				word.Reset()
				in = false
			}
		case quote == 0 && !in && c == '#':
			return out, nil
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != '\'' && c == '\\' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			in = true
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if in {
		out = append(out, word.String())
	}
	return out, nil
}
