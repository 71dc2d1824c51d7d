package ipvsadm

import "strings"

// number reads a decimal number as C's strtol does (blanks before it and a sign are fine); false: there is none,
// something follows it, or it does not fit.
func number(s string) (int64, bool) {
	n, rest, ok := scanNumber(s)
	return n, ok && rest == ""
}

// leadingNumber is C's atoi.
func leadingNumber(s string) int64 {
	n, _, _ := scanNumber(s)
	return n
}

// scanNumber reads as many digits as there are; false: none, or too many.
func scanNumber(s string) (n int64, rest string, ok bool) {
	const limit = 1 << 62
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		if n < limit {
			n = n*10 + int64(s[i]-'0')
			n = min(n, limit)
		}
		i++
	}
	if negative {
		n = -n
	}
	return n, s[i:], i > 0 && n < limit && n > -limit
}

// store reads a number within bounds into *v; else the fault says text.
func store[T int32 | uint32 | uint16 | uint8](v *T, s string, low, high int64, text string) error {
	n, ok := number(s)
	if !ok || n < low || n > high {
		return wrong("%s", text)
	}
	*v = T(n)
	return nil
}

// timeout reads seconds.
func timeout(s string, low int64) (uint32, error) {
	n, ok := number(s)
	if !ok || n < low || n > maxTimeout {
		return 0, wrong("invalid timeout value `%s' specified", s)
	}
	return uint32(n), nil
}

// cut keeps n bytes.
func cut(s string, n int) string { return s[:min(n, len(s))] }
