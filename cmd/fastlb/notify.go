package main

import (
	"fmt"
	"net"
)

// notify tells the service manager a state, such as READY=1 (sd_notify(3)): a datagram to the socket that NOTIFY_SOCKET
// names. Without a manager it does nothing. A name that begins with @ is an abstract one.
func (e *env) notify(state string) error {
	name := e.getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager %q: %w", state, err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager %q: %w", state, err)
	}
	return nil
}
