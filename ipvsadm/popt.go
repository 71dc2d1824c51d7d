package ipvsadm

import "strings"

// argument says whether an option takes one.
type argument uint8

const (
	noArgument argument = iota
	oneArgument
	maybeArgument // the next word, unless that begins with '-'
)

// option is one entry of the option table.
type option struct {
	id    optionID
	long  string
	short byte // 0: none
	arg   argument
}

// popt's own errors, in the words of its library.
const (
	missingArgument  = "missing argument"
	unknownOption    = "unknown option"
	unwantedArgument = "option does not take an argument"
)

// poptError is a word that the option parser refuses.
type poptError struct{ word, what string }

func (e *poptError) Error() string { return e.word + ": " + e.what }

// popt walks the words of a command line as the library of that name does: short options may be bundled, an argument
// may be joined to its option (with or without '=') or be the next word, options and other words may be mixed, "--" ends
// the options.
type popt struct {
	words []string // without the program's name
	next  int      // word to look at next
	chars string   // what is left of a bundle of short options
	rest  bool     // "--" was seen
	left  []string // words that are no options
}

// option returns the next option with its argument; given tells whether there was an argument; ok is false at the end.
func (p *popt) option() (o *option, arg string, given, ok bool, err error) {
	long, joined := "", false
	for o == nil && p.chars == "" {
		if p.next == len(p.words) {
			return nil, "", false, false, nil
		}
		w := p.words[p.next]
		p.next++
		switch {
		case p.rest || w == "-" || !strings.HasPrefix(w, "-"):
			p.left = append(p.left, w)
		case w == "--":
			p.rest = true
		case strings.HasPrefix(w, "--"):
			var name string
			name, long, joined = strings.Cut(w[2:], "=")
			if o = longOption(name); o == nil {
				return nil, "", false, true, p.error(unknownOption)
			}
		default:
			p.chars = w[1:]
		}
	}
	if o == nil {
		if o = shortOption(p.chars[0]); o == nil {
			return nil, "", false, true, p.error(unknownOption)
		}
		p.chars = p.chars[1:]
	}
	if o.arg == noArgument {
		if joined || strings.HasPrefix(p.chars, "=") {
			return nil, "", false, true, p.error(unwantedArgument)
		}
		return o, "", false, true, nil
	}
	switch {
	case joined:
		return o, long, true, true, nil
	case p.chars != "":
		arg, p.chars = strings.TrimPrefix(p.chars, "="), ""
		return o, arg, true, true, nil
	case p.next == len(p.words):
		if o.arg == maybeArgument {
			return o, "", false, true, nil
		}
		return nil, "", false, true, p.error(missingArgument)
	case o.arg == maybeArgument && strings.HasPrefix(p.words[p.next], "-"):
		return o, "", false, true, nil
	}
	p.next++
	return o, p.words[p.next-1], true, true, nil
}

// word is the one looked at last: an option's argument where that was a word of its own.
func (p *popt) word() string { return p.words[p.next-1] }

func (p *popt) error(what string) error { return &poptError{p.word(), what} }

func longOption(name string) *option {
	for i := range options {
		if options[i].long == name {
			return &options[i]
		}
	}
	return nil
}

func shortOption(c byte) *option {
	for i := range options {
		if options[i].short == c {
			return &options[i]
		}
	}
	return nil
}
