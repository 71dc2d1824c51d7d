package service

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tunables are the IPVS sysctls (spec/connections.md 13) and fastlb's own Overhead. Times are in seconds. Fields that the
// kernel has as switches are bool; it takes any number for them, not 0 meaning on.
type Tunables struct {
	AMemThresh      int32 // pages: below that much memory the automatic defences act
	AMDropRate      int32 // drop_packet mode 3: every so manieth packet is dropped
	DropEntry       int32 // 0…3
	DropPacket      int32 // 0…3
	SecureTCP       int32 // 0…3
	Conntrack       bool
	SNATReroute     bool
	CacheBypass     bool
	ExpireNoDest    bool // expire_nodest_conn
	ExpireQuiescent bool // expire_quiescent_template
	SloppyTCP       bool
	SloppySCTP      bool
	NATICMPSend     bool
	PMTUDisc        bool
	BackupOnly      bool
	ConnReuseMode   int32
	ScheduleICMP    bool
	IgnoreTunneled  bool
	RunEstimation   bool
	LBLCExpiration  int32
	LBLCRExpiration int32

	SyncVersion       int32
	SyncPorts         int32
	SyncPersistMode   int32
	SyncQLenMax       int64
	SyncSockSize      int32
	SyncThreshold     int32
	SyncPeriod        int32
	SyncRefreshPeriod int32
	SyncRetries       int32

	DebugLevel  int32
	ConnLFactor int32
	ConnMax     int32
	SvcLFactor  int32
	EstNice     int32
	EstCPUList  string

	Classic bool // overhead: classic, the counting rules of kernels before 2026; else 2026
}

// DefaultTunables are the kernel's defaults.
func DefaultTunables() Tunables {
	return Tunables{
		AMemThresh: 1024, AMDropRate: 10, SNATReroute: true, PMTUDisc: true, ConnReuseMode: 1, RunEstimation: true,
		LBLCExpiration: 86400, LBLCRExpiration: 86400,
		SyncVersion: 1, SyncPorts: 1, SyncQLenMax: 32768, SyncThreshold: 3, SyncPeriod: 50,
		ConnLFactor: -2, ConnMax: 1 << 30, SvcLFactor: -2,
	}
}

// tunable is a row of the table of names.
type tunable struct {
	name string
	ref  func(t *Tunables) any // *int32, *int64, *bool or *string
	low  int64                 // smallest and largest value, for numbers that the kernel limits
	high int64                 // both 0: no limit
	ok   func(v int64) bool    // what else must hold
}

func powerOfTwo(v int64) bool { return v >= 1 && v&(v-1) == 0 }

// tunables lists the sysctls that hold one value, in the order of the kernel's table; sync_threshold, which holds two,
// and overhead, which is a word, are treated apart.
var tunables = []tunable{
	{name: "amemthresh", ref: func(t *Tunables) any { return &t.AMemThresh }},
	{name: "am_droprate", ref: func(t *Tunables) any { return &t.AMDropRate }},
	{name: "drop_entry", ref: func(t *Tunables) any { return &t.DropEntry }, high: 3},
	{name: "drop_packet", ref: func(t *Tunables) any { return &t.DropPacket }, high: 3},
	{name: "conntrack", ref: func(t *Tunables) any { return &t.Conntrack }},
	{name: "secure_tcp", ref: func(t *Tunables) any { return &t.SecureTCP }, high: 3},
	{name: "snat_reroute", ref: func(t *Tunables) any { return &t.SNATReroute }},
	{name: "sync_version", ref: func(t *Tunables) any { return &t.SyncVersion }, high: 1},
	{name: "sync_ports", ref: func(t *Tunables) any { return &t.SyncPorts }, ok: powerOfTwo},
	{name: "sync_persist_mode", ref: func(t *Tunables) any { return &t.SyncPersistMode }},
	{name: "sync_qlen_max", ref: func(t *Tunables) any { return &t.SyncQLenMax }},
	{name: "sync_sock_size", ref: func(t *Tunables) any { return &t.SyncSockSize }},
	{name: "cache_bypass", ref: func(t *Tunables) any { return &t.CacheBypass }},
	{name: "expire_nodest_conn", ref: func(t *Tunables) any { return &t.ExpireNoDest }},
	{name: "sloppy_tcp", ref: func(t *Tunables) any { return &t.SloppyTCP }},
	{name: "sloppy_sctp", ref: func(t *Tunables) any { return &t.SloppySCTP }},
	{name: "expire_quiescent_template", ref: func(t *Tunables) any { return &t.ExpireQuiescent }},
	{name: "sync_refresh_period", ref: func(t *Tunables) any { return &t.SyncRefreshPeriod }},
	{name: "sync_retries", ref: func(t *Tunables) any { return &t.SyncRetries }, high: 3},
	{name: "nat_icmp_send", ref: func(t *Tunables) any { return &t.NATICMPSend }},
	{name: "pmtu_disc", ref: func(t *Tunables) any { return &t.PMTUDisc }},
	{name: "backup_only", ref: func(t *Tunables) any { return &t.BackupOnly }},
	{name: "conn_reuse_mode", ref: func(t *Tunables) any { return &t.ConnReuseMode }},
	{name: "schedule_icmp", ref: func(t *Tunables) any { return &t.ScheduleICMP }},
	{name: "ignore_tunneled", ref: func(t *Tunables) any { return &t.IgnoreTunneled }},
	{name: "run_estimation", ref: func(t *Tunables) any { return &t.RunEstimation }},
	{name: "lblc_expiration", ref: func(t *Tunables) any { return &t.LBLCExpiration }},
	{name: "lblcr_expiration", ref: func(t *Tunables) any { return &t.LBLCRExpiration }},
	{name: "debug_level", ref: func(t *Tunables) any { return &t.DebugLevel }},
	{name: "est_cpulist", ref: func(t *Tunables) any { return &t.EstCPUList }},
	{name: "est_nice", ref: func(t *Tunables) any { return &t.EstNice }, low: -20, high: 19},
	{name: "conn_lfactor", ref: func(t *Tunables) any { return &t.ConnLFactor }, low: -8, high: 8},
	{name: "conn_max", ref: func(t *Tunables) any { return &t.ConnMax }, high: 1 << 30},
	{name: "svc_lfactor", ref: func(t *Tunables) any { return &t.SvcLFactor }, low: -8, high: 8},
}

// Names lists all tunables in alphabetical order.
func (t *Tunables) Names() []string {
	names := []string{"sync_threshold", "overhead"}
	for i := range tunables {
		names = append(names, tunables[i].name)
	}
	slices.Sort(names)
	return names
}

// Set stores a value given as text, as a write to /proc/sys/net/ipv4/vs/NAME would: ErrNoTunable, or ErrInvalid and the
// old value stays.
func (t *Tunables) Set(name, value string) error {
	value = strings.TrimSpace(value)
	switch name {
	case "sync_threshold":
		return t.setSyncThreshold(value)
	case "overhead":
		if value != "classic" && value != "2026" {
			return fmt.Errorf("tunable overhead: %q is neither classic nor 2026: %w", value, ErrInvalid)
		}
		t.Classic = value == "classic"
		return nil
	}
	row := find(name)
	if row == nil {
		return fmt.Errorf("tunable %q: %w", name, ErrNoTunable)
	}
	ref := row.ref(t)
	if s, ok := ref.(*string); ok {
		*s = value
		return nil
	}
	low, high := row.low, row.high
	if low == 0 && high == 0 {
		low, high = limits(ref)
	}
	n, err := strconv.ParseInt(value, 0, 64)
	if err != nil {
		return fmt.Errorf("tunable %s: %q is not a number: %w", name, value, ErrInvalid)
	}
	if n < low || n > high {
		return fmt.Errorf("tunable %s: %d is not within %d and %d: %w", name, n, low, high, ErrInvalid)
	}
	if row.ok != nil && !row.ok(n) {
		return fmt.Errorf("tunable %s: %d is not a power of two: %w", name, n, ErrInvalid)
	}
	switch p := ref.(type) {
	case *bool:
		*p = n != 0
	case *int32:
		*p = int32(n)
	case *int64:
		*p = n
	}
	return nil
}

// Get is a tunable's value as text; false: there is no such tunable.
func (t *Tunables) Get(name string) (string, bool) {
	switch name {
	case "sync_threshold":
		return fmt.Sprintf("%d\t%d", t.SyncThreshold, t.SyncPeriod), true
	case "overhead":
		if t.Classic {
			return "classic", true
		}
		return "2026", true
	}
	row := find(name)
	if row == nil {
		return "", false
	}
	switch p := row.ref(t).(type) {
	case *bool:
		if *p {
			return "1", true
		}
		return "0", true
	case *int32:
		return strconv.FormatInt(int64(*p), 10), true
	case *int64:
		return strconv.FormatInt(*p, 10), true
	case *string:
		return *p, true
	}
	return "", false
}

func find(name string) *tunable {
	for i := range tunables {
		if tunables[i].name == name {
			return &tunables[i]
		}
	}
	return nil
}

// limits are those of a field's type.
func limits(ref any) (low, high int64) {
	if _, long := ref.(*int64); long {
		return 0, 1<<63 - 1
	}
	return -1 << 31, 1<<31 - 1
}

// setSyncThreshold takes "threshold period": both at least 0, and threshold below period unless period is 0.
func (t *Tunables) setSyncThreshold(value string) error {
	f := strings.Fields(value)
	if len(f) == 2 {
		a, err1 := strconv.ParseInt(f[0], 0, 32)
		b, err2 := strconv.ParseInt(f[1], 0, 32)
		if err1 == nil && err2 == nil && a >= 0 && b >= 0 && (b == 0 || a < b) {
			t.SyncThreshold, t.SyncPeriod = int32(a), int32(b)
			return nil
		}
	}
	return fmt.Errorf("tunable sync_threshold: %q is not two numbers, a threshold below a period: %w", value, ErrInvalid)
}
