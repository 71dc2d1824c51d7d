package ipvsadm

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// schedulers and engines are the names that hints suggest.
var (
	schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"}
	engines    = []string{"sip"}
)

// hint says what was not found, and the nearest that exists; "" where ipvsadm's own message says it all.
func (p *program) hint(a action, errno syscall.Errno, c *Command) string {
	switch {
	case errno == syscall.ESRCH && a != stopDaemon && c.given.has(optService):
		return p.noService(&c.service.ID)
	case errno == syscall.ENOENT && (a == addService || a == editService):
		return notFoundName(&c.service)
	case errno == syscall.ENOENT && (a == editServer || a == deleteServer):
		return p.noServer(c)
	}
	return ""
}

// Schedulers lists the schedulers by LVS's names, in the order of ipvsadm's help.
func Schedulers() []string { return slices.Clone(schedulers) }

// noService names the service that does not exist, and the nearest that does.
func (p *program) noService(id *service.ID) string {
	entries, err := p.engine.Services()
	if err != nil {
		return ""
	}
	what := fmt.Sprintf("there is no service %s", serviceText(id))
	if len(entries) == 0 {
		return what + "; the table is empty"
	}
	mergeSort(entries, compareServices)
	names := make([]string, len(entries))
	for i := range entries {
		names[i] = serviceText(&entries[i].Spec.ID)
	}
	return fmt.Sprintf("%s; the nearest is %s", what, nearest(serviceText(id), names))
}

// noServer does so for a server.
func (p *program) noServer(c *Command) string {
	entries, err := p.engine.Services()
	if err != nil {
		return ""
	}
	i := slices.IndexFunc(entries, func(e control.ServiceEntry) bool { return e.Spec.ID == c.service.ID })
	if i < 0 {
		return ""
	}
	what := fmt.Sprintf("service %s has no server %s", serviceText(&c.service.ID), c.server.ServerID)
	if len(entries[i].Servers) == 0 {
		return what + "; it has none at all"
	}
	mergeSort(entries[i].Servers, compareServers)
	var names []string
	for _, s := range entries[i].Servers {
		names = append(names, s.Spec.ServerID.String())
	}
	return fmt.Sprintf("%s; the nearest is %s", what, nearest(c.server.ServerID.String(), names))
}

// notFoundName tells the scheduler and the persistence engine apart, which one errno stands for.
func notFoundName(s *service.Spec) string {
	if s.Scheduler != "none" && !slices.Contains(schedulers, s.Scheduler) {
		return fmt.Sprintf("there is no scheduler %q; the nearest is %s, all are %s",
			s.Scheduler, nearest(s.Scheduler, schedulers), strings.Join(schedulers, " "))
	}
	if s.Engine != "" && !slices.Contains(engines, s.Engine) {
		return fmt.Sprintf("there is no persistence engine %q; the only one is sip", s.Engine)
	}
	return ""
}

// serviceText names a service as listings with -n do, in one blank.
func serviceText(id *service.ID) string {
	f := format{numeric: true}
	return strings.Join(strings.Fields(f.serviceName(&Names{}, id)), " ")
}

// nearest is the name that the fewest changed letters turn name into; the first of several.
func nearest(name string, names []string) string {
	best, least := "", 1<<30
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is Levenshtein's: letters put in, taken out or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
