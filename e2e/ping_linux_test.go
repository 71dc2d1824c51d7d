package e2e

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/fastlb/fastlb/lab"
	"github.com/fastlb/fastlb/packet"
)

// ping sends an ICMP echo request from the client and waits for its answer (RFC 792, RFC 4443).
func ping(s *lab.Site, to netip.Addr) error { return pingWith(s, to, []byte("fastlb")) }

// pingWith is ping with data of one's own.
func pingWith(s *lab.Site, to netip.Addr, data []byte) error {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	var c *net.IPConn
	if err := lab.In(s.Plan.Client.Namespace, func() (err error) {
		c, err = net.DialIP(network, nil, &net.IPAddr{IP: to.AsSlice()})
		return err
	}); err != nil {
		return err
	}
	defer c.Close()
	body := append([]byte("\x4c\x42\x00\x01"), data...) // identifier, sequence number, data
	message := append([]byte{request, 0, 0, 0}, body...)
	if to.Is4() { // the kernel fills in ICMPv6's, which covers addresses
		binary.BigEndian.PutUint16(message[2:], packet.Sum(0).AddBytes(message).Checksum())
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(message); err != nil {
		return err
	}
	buf := make([]byte, len(body)+1500)
	for {
		n, _, err := c.ReadFromIP(buf) // without the IPv4 header, which Read would leave on
		if err != nil {
			return err
		}
		if n >= 4 && buf[0] == reply && bytes.Equal(buf[4:n], body) {
			return nil
		}
	}
}
