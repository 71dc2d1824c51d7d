package lab

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// Serve is what a real server of the lab runs in its namespace: the end of its tunnels, the UDP echo and the built-in
// web server on the given ports. It returns when ctx ends or one of them fails.
func Serve(ctx context.Context, name string, ports []uint16) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func() error{
		func() error { return Decapsulate(ctx) },
		func() error { return ServeEcho(ctx, name, []uint16{EchoPort, EchoPort + Second}) },
		func() error { return ServeWeb(ctx, name, ports) },
	}
	results := make(chan error, len(parts))
	for _, part := range parts {
		go func() { results <- part() }()
	}
	var errs []error
	for range parts {
		errs = append(errs, <-results)
		cancel() // one has ended: so do the others
	}
	return errors.Join(errs...)
}

func joinPorts(ports []uint16) string {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = strconv.Itoa(int(p))
	}
	return strings.Join(words, ",")
}
