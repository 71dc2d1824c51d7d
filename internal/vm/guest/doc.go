// Package guest is what programs share that run as process 1 of a machine of package vm: they make a system of what the
// kernel started, speak to the host, and switch the machine off. It is Linux's alone.
package guest
