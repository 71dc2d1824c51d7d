package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// startPatience is how long the lab waits for a program to be ready.
const startPatience = 15 * time.Second

// StartServers starts the real servers: in each namespace the lab's own process, which ends tunnels and answers on the
// built-in server's ports, and nginx for the web ports (the built-in server where nginx is ""). It returns when each
// answers under its name.
func (s *Site) StartServers(nginx string) error {
	for _, n := range s.Plan.Servers {
		ports := []uint16{BulkPort, BulkPort + Second}
		if nginx == "" {
			ports = append(ports, WebPort, AltPort)
		}
		p, err := s.Start(n.Name, "server", s.Binary, "lab", "server", "--name", n.Name, "--ports", joinPorts(ports))
		if err != nil {
			return err
		}
		if nginx != "" {
			if p, err = s.startNginx(n, nginx); err != nil {
				return err
			}
		}
		for _, port := range []uint16{WebPort, AltPort, BulkPort} {
			address := netip.AddrPortFrom(n.Interfaces[0].V4(), port)
			err := p.Await(startPatience, func() error { return s.answers(n.Name, address, n.Name) })
			if err != nil {
				return err
			}
		}
		// The tunnel's end is there when its device is.
		if err := p.Await(startPatience, func() error {
			return In(n.Namespace, func() error { _, err := net.InterfaceByName(tunnelDevice); return err })
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) startNginx(n Node, nginx string) (*Process, error) {
	dir := filepath.Join(s.Dir, n.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(NginxConfig(n.Name, dir, []uint16{WebPort, AltPort})), 0o644); err != nil {
		return nil, err
	}
	return s.Start(n.Name, "nginx", nginx, "-p", dir, "-c", config, "-e", "stderr")
}

// answers asks an address from inside a node and compares the name that comes back.
func (s *Site) answers(node string, address netip.AddrPort, name string) error {
	got, err := AskName(context.Background(), s.HTTPClient(node, time.Second), address)
	if err == nil && got != name {
		err = fmt.Errorf("%s answered as %q", address, got)
	}
	return err
}

// Dial connects from a node; network and address are net.Dial's, with an IP address.
func (s *Site) Dial(ctx context.Context, node, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := In(s.Plan.namespace(node), func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// HTTPClient returns a client that asks from a node, with a new connection for each request.
func (s *Site) HTTPClient(node string, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return s.Dial(ctx, node, network, address)
			},
		},
	}
}

// fetch asks for a URL and returns the whole answer. Any status but 200 is an error.
func fetch(ctx context.Context, c *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	r, err := c.Do(request)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, r.Status)
	}
	return string(body), err
}

// AskName asks an address for the name of the server behind it.
func AskName(ctx context.Context, c *http.Client, address netip.AddrPort) (string, error) {
	answer, err := fetch(ctx, c, "http://"+address.String()+"/")
	name, _, _ := strings.Cut(answer, "\n")
	return name, err
}
