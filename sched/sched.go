package sched

import (
	"fmt"
	"slices"

	"github.com/fastlb/fastlb/service"
)

// Env is what schedulers need from outside.
type Env struct {
	// Rand returns 64 uniform random bits; nil: a fixed sequence (replay). Only twos draws from it.
	Rand func() uint64
	// LBLCExpiration and LBLCRExpiration return the sysctls of these names in seconds; nil: 86400.
	LBLCExpiration, LBLCRExpiration func() int64
}

// makers is the table of schedulers by name.
var makers = map[string]func(env *Env) service.Scheduler{
	"rr": func(*Env) service.Scheduler { return &rr{cursor: -1} },
}

// New makes a scheduler by LVS's name for it; service.ErrNoScheduler.
func New(name string, env Env) (service.Scheduler, error) {
	m := makers[name]
	if m == nil {
		return nil, fmt.Errorf("known are %v: %w", Names(), service.ErrNoScheduler)
	}
	return m(&env), nil
}

// Names lists the schedulers in alphabetical order.
func Names() []string {
	names := make([]string, 0, len(makers))
	for n := range makers {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
