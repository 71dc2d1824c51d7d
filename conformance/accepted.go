package conformance

import "strings"

// accepted is a difference that is understood and stays.
type accepted struct {
	shown  string // the fixed case that shows it in every run
	why    string
	covers func(d *Difference) bool
}

var acceptedDifferences = []accepted{
	{
		shown: "size/gre/v4-in-v6/udp",
		why: "a datagram of IPv4 that came in fragments and leaves in GRE without checksum over IPv6: the kernel cuts it anew to the MTU, " +
			"fastlb keeps the cuts, as the kernel does in the other tunnels; the payload is the same",
		covers: func(d *Difference) bool {
			return d.What == "frames on r" && strings.Contains(d.Text, "frag=") &&
				strings.Contains(d.Kernel, "m=1) gre(0000") && strings.Contains(d.Fastlb, "m=1) gre(0000")
		},
	},
	{
		shown: "size/gue/v4-in-v6/udp",
		why: "a datagram of IPv4 that came in fragments and leaves in GUE over IPv6: the kernel cuts it anew to the MTU, fastlb keeps the " +
			"cuts, as the kernel does in the other tunnels; the payload is the same",
		covers: func(d *Difference) bool {
			return d.What == "frames on r" && strings.Contains(d.Text, "frag=") &&
				strings.Contains(d.Kernel, "[fd00:2::fe]:0 > ") && strings.Contains(d.Kernel, "m=1) gue(") && strings.Contains(d.Fastlb, "m=1) gue(")
		},
	},
	{
		shown: "size/gre/v6-in-v4/udp",
		why: "a datagram of IPv6 that came in fragments with a TOS and leaves in IPv4: the kernel sets DF in the pieces of the outer packet, " +
			"left over from the inner one's; fastlb cuts a packet without DF",
		covers: func(d *Difference) bool {
			return d.What == "frames on r" && strings.Contains(d.Text, "frag=") && strings.Contains(d.Kernel, " df mf)") &&
				strings.Contains(d.Fastlb, " mf") && !strings.Contains(d.Fastlb, " df mf)")
		},
	},
	{
		shown: "size/ipip/v6/udp",
		why: "a datagram of IPv6 that came as one fragment and leaves in IPv6: the kernel gives the outer packet a fragment header of one " +
			"piece (RFC 6946); fastlb sends it whole",
		covers: func(d *Difference) bool {
			return d.What == "frames on r" && strings.Contains(d.Text, "frag=") && strings.Contains(d.Kernel, " frag off=0 m=0)") &&
				!strings.Contains(d.Fastlb, " frag off=")
		},
	},
	{
		shown: "size/nat/v6/sctp",
		why: "an SCTP packet of IPv6 in tiny fragments, whose port NAT changes: the kernel has to put it together for the new checksum and " +
			"sends it as one fragment; fastlb keeps the cuts, as the kernel does for TCP and UDP",
		covers: func(d *Difference) bool {
			return d.What == "frames on r" && strings.Contains(d.Text, "sctp") && strings.Contains(d.Text, "frag=") &&
				strings.Contains(d.Kernel, " frag off=0 m=0)") && strings.Contains(d.Fastlb, " frag off=0 m=1)")
		},
	},
}

// acceptance is why a difference may stay, or "".
func acceptance(d *Difference) string {
	for i := range acceptedDifferences {
		if acceptedDifferences[i].covers(d) {
			return acceptedDifferences[i].why
		}
	}
	return ""
}

// Healed are the accepted differences that their cases, all of them played, no longer show.
func Healed(played map[string]bool, found []Difference) (l []string) {
	for i := range acceptedDifferences {
		a := &acceptedDifferences[i]
		shown := false
		for j := range found {
			shown = shown || found[j].Case == a.shown && a.covers(&found[j])
		}
		if played[a.shown] && !shown {
			l = append(l, "accepted, but "+a.shown+" shows it no longer: "+strings.TrimSpace(a.why))
		}
	}
	return l
}
