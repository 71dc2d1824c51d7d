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
	"rr":  func(*Env) service.Scheduler { return &rr{cursor: -1} },
	"wrr": func(*Env) service.Scheduler { return &wrr{} },
	"lc":  func(*Env) service.Scheduler { return newLC() },
	"wlc": func(*Env) service.Scheduler { return newWLC() },
	"lblc": func(e *Env) service.Scheduler {
		return &lblc{least: newLocal(), cache: newCache(), expiration: e.LBLCExpiration}
	},
	"lblcr": func(e *Env) service.Scheduler {
		return &lblcr{least: newLocal(), cache: newCache(), expiration: e.LBLCRExpiration}
	},
	"dh":   func(*Env) service.Scheduler { return &dh{} },
	"sh":   func(*Env) service.Scheduler { return &sh{} },
	"sed":  func(*Env) service.Scheduler { return newSED() },
	"nq":   func(*Env) service.Scheduler { return newNQ() },
	"fo":   func(*Env) service.Scheduler { return newFO() },
	"ovf":  func(*Env) service.Scheduler { return newOVF() },
	"mh":   func(*Env) service.Scheduler { return &mh{} },
	"twos": func(e *Env) service.Scheduler { return &twos{rand: e.Rand} },
}

// New makes a scheduler by LVS's name for it; service.ErrNoScheduler.
func New(name string, env Env) (service.Scheduler, error) {
	m := makers[name]
	if m == nil {
		return nil, fmt.Errorf("known are %v: %w", Names(), service.ErrNoScheduler)
	}
	if env.Rand == nil {
		env.Rand = Fixed()
	}
	day := func() int64 { return 86400 }
	if env.LBLCExpiration == nil {
		env.LBLCExpiration = day
	}
	if env.LBLCRExpiration == nil {
		env.LBLCRExpiration = day
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
