// Package control is what the kernel's ip_vs_ctl is: the table of services and servers, its commands and its listings,
// with no goroutine, socket or clock of its own (time is an argument).
//
// An Op is one change, as data: ipvsadm's commands, a configuration's difference and the API all end in a list of them.
// The entries of listing.go are what comes back.
package control
