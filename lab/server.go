package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// WebServer is the HTTP server built into the lab, for machines without nginx and for tests: every path answers with the
// server's name and a line feed, /echo with what was posted to it.
type WebServer struct {
	Name string
}

// ServeHTTP answers one request; the answer's Server header is the name too.
func (s WebServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", s.Name)
	if r.URL.Path == "/echo" {
		w.Header().Set("Content-Type", "application/octet-stream")
		// Both directions at once: HTTP/1.1 servers read a request to its end first unless told otherwise.
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, s.Name)
}

// ServeWeb answers HTTP on the given ports, on every address of both families, until ctx ends.
func ServeWeb(ctx context.Context, name string, ports []uint16) error {
	server := &http.Server{Handler: WebServer{name}, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, len(ports))
	for _, port := range ports {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{Port: int(port)})
		if err != nil {
			server.Close()
			return err
		}
		go func() { failed <- server.Serve(listener) }()
	}
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-failed:
		server.Close()
		return err
	}
}

// ServeEcho sends every UDP datagram back behind the server's name and a space, from the address and port that it came
// to, until ctx ends.
func ServeEcho(ctx context.Context, name string, ports []uint16) error {
	// A socket an address: one on the wildcard would answer from an address of the kernel's choice, not from the VIP.
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	failed := make(chan error, len(addrs)*len(ports))
	var conns []*net.UDPConn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		for _, port := range ports {
			conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(prefix.Addr(), port)))
			if err != nil {
				return err
			}
			conns = append(conns, conn)
			go func() { failed <- echo(conn, name) }()
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func echo(conn *net.UDPConn, name string) error {
	prefix := append([]byte(name), ' ')
	buf := make([]byte, len(prefix)+1<<16)
	copy(buf, prefix)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf[len(prefix):])
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		// A refused answer is the client's affair, not a reason to stop.
		_, _ = conn.WriteToUDPAddrPort(buf[:len(prefix)+n], from)
	}
}
