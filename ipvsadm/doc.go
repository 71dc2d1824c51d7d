// Package ipvsadm is LVS's command line: the grammar, messages, exit statuses and listings of ipvsadm 1.31, byte for
// byte, over any Engine.
//
// Main is the whole program. Parse turns one command line into a Command (pure: no engine); Command.Op makes the change
// that an Engine is asked for; the listings are written by format.go, names by names.go, the order of things by sort.go.
// It knows no socket and no table: package control is an Engine, and so is the client of package api.
package ipvsadm
