package sched

import "github.com/fastlb/fastlb/service"

// list is embedded by schedulers whose whole state is the list of servers.
type list struct{ servers []*service.Server }

func (l *list) Update(servers []*service.Server, _ service.Event, _ *service.Server) {
	l.servers = servers
}

// gcd is the greatest common divisor; of 0 and a it is a.
func gcd(a, b int32) int32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
