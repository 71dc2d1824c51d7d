//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
//
// steer decides for every packet of an interface: the director's, or the kernel's? It takes
//   - what goes to a virtual service or lies in a mark's range,
//   - what comes from a real server of a NAT service,
//   - ICMP errors whose embedded packet is one of these, or one of the director's own tunnels,
//   - fragments to a service's address or from a NAT server's: the later ones have no ports, so the first goes with them,
//   - AH and ESP likewise: they have no ports at all, and follow the IKE connection if the director knows one,
// and gives them to the AF_XDP socket of the queue they arrived on, or drops them while there is none: the kernel would
// answer them with a reset. Everything else passes.
//
// The functions stand in the order in which a packet meets them. Each packet ends in exactly one enum steer_exit, counted.
// It reads headers, which lie in a packet's first buffer: so it may be loaded with BPF_F_XDP_HAS_FRAGS too, for drivers that
// spread a packet over several. Needs Linux 5.15. Ports and addresses are in network order throughout.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "Dual BSD/GPL";

#define inline_always static __attribute__((always_inline)) inline

// Every way out. Go reads the names from the object's BTF: keep them, append at the end of each group, and run
// `go generate`.
enum steer_exit {
	EXIT_PASS_RUNT,       // shorter than the link header and its tags
	EXIT_PASS_NOT_HOST,   // not addressed to this interface's MAC
	EXIT_PASS_NOT_IP,     // ARP, LLDP, three VLAN tags
	EXIT_PASS_BAD_IP,     // an IP header that is cut short or impossible
	EXIT_PASS_EXTENSIONS, // more IPv6 extension headers than the walk is long
	EXIT_PASS_PROTOCOL,   // a protocol that is not balanced
	EXIT_PASS_TRANSPORT,  // too short to hold ports, or an ICMP header
	EXIT_PASS_NO_RULE,    // TCP, UDP or SCTP that is nobody's
	EXIT_PASS_FRAGMENT,   // a fragment that is nobody's
	EXIT_PASS_ICMP,       // an ICMP message that is no error
	EXIT_PASS_ICMP_OTHER, // an ICMP error about something else
	EXIT_TAKE_SERVICE,    // to a virtual service
	EXIT_TAKE_MARK,       // in a mark's range
	EXIT_TAKE_SERVER,     // from a real server of a NAT service
	EXIT_TAKE_FRAGMENT,   // a fragment to a service's address or from a NAT server's
	EXIT_TAKE_ICMP,       // an ICMP error about a connection
	EXIT_TAKE_TUNNEL,     // an ICMP error about one of the director's tunnels
	EXIT_TAKE_IPSEC,      // AH or ESP to a service's address or from a NAT server's
	EXIT_DROP_NO_SOCKET,  // taken, but the queue has no socket
	EXIT_COUNT,
};

enum rule_kind {
	KIND_NONE = 0,
	KIND_SERVICE = 1, // addr, port (0: any), proto of a virtual service
	KIND_SERVER = 2,  // addr, port (0: any), proto of a real server of a NAT service
	KIND_ADDRESS = 3, // addr; value: ADDRESS_…
	KIND_TUNNEL = 4,  // addr of a tunnel's end, outer proto, port of GUE (else 0)
	KIND_MARK = 5,    // addr: number of a mark set, as its first four bytes; port, proto
};

enum address_flag {
	ADDRESS_SERVICE = 1, // a virtual service's
	ADDRESS_SERVER = 2,  // a NAT server's
	ADDRESS_FTP = 4,     // a NAT server's that has FTP: its data connections begin at ports from 1024 up
};

// What kinds of rules exist, so that the rest costs nothing.
enum feature {
	FEATURE_ANY_PORT = 1, // a service or server with port 0
	FEATURE_MARKS = 2,
	FEATURE_SERVERS = 4,
	FEATURE_TUNNELS = 8,
	FEATURE_FTP = 16, // an FTP service or server: data connections go to port 20 or from 1024 up
};

enum proto_bit {
	PROTO_TCP = 1,
	PROTO_UDP = 2,
	PROTO_SCTP = 4,
};

struct address {
	__u8 b[16]; // IPv4 is v4-mapped
};

struct rule_key {
	struct address addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
	enum rule_kind kind;
};

struct mark_key {
	__u32 prefixlen; // 32 for the family, then the address's bits
	__u32 family;    // 4 or 6
	struct address addr;
};

struct mark_value {
	__u32 set; // number of the set of ports that KIND_MARK rules hold
	enum proto_bit all;  // protocols of which every port is meant
	enum proto_bit some; // protocols of which the set's ports are meant
};

struct interface_key {
	__u32 ifindex;
	__u8 mac[6];
	__u8 pad[2];
};

struct interface_value {
	__u32 base;   // of this interface's queues in xsks
	__u32 queues; // how many
};

// Maps. Writer: the director; the counters' writer: this program.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct rule_key);
	__type(value, enum address_flag); // not 0; ADDRESS_SERVICE where it does not matter
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mark_key);
	__type(value, struct mark_value);
} marks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct interface_key);
	__type(value, struct interface_value);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, enum feature);
} features SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EXIT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

#define IPPROTO_ICMP 1
#define IPPROTO_IPIP 4
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_IPV6 41
#define IPPROTO_GRE 47
#define IPPROTO_ESP 50
#define IPPROTO_AH 51
#define IPPROTO_ICMPV6 58
#define IPPROTO_SCTP 132

struct ethernet {
	__u8 dst[6], src[6];
	__be16 type;
};

struct vlan {
	__be16 tci, type;
};

struct ipv4 {
	__u8 version_ihl, tos;
	__be16 len, id, frag;
	__u8 ttl, proto;
	__be16 sum;
	__u8 src[4], dst[4];
};

struct ipv6 {
	__u8 version, class_flow[3];
	__be16 len;
	__u8 next, hops;
	struct address src, dst;
};

// cursor walks through a packet: at is checked against end before anything is read.
struct cursor {
	void *at, *end;
};

// tuple is what the rules look at.
struct tuple {
	struct address src, dst;
	__be16 sport, dport;
	__u8 proto, family;
	__u8 fragment; // a fragment, first or later; atomic ones are whole packets
	__u8 later;    // a fragment without the transport header
};

// leave counts the exit. Not inlined, so that the enum stays in the object's BTF.
static __attribute__((noinline)) int leave(enum steer_exit exit, int verdict)
{
	__u32 key = exit;
	__u64 *n = bpf_map_lookup_elem(&counters, &key);

	if (n)
		(*n)++;
	return verdict;
}

inline_always void map_v4(struct address *a, const __u8 *v4)
{
	__u32 *w = (__u32 *)a;

	w[0] = 0;
	w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	__builtin_memcpy(&w[3], v4, 4);
}

// read_v4 reads an IPv4 header with its options and leaves the cursor behind it.
inline_always int read_v4(struct cursor *c, struct tuple *t)
{
	struct ipv4 *ip = c->at;
	__u32 length;

	if ((void *)(ip + 1) > c->end || ip->version_ihl >> 4 != 4)
		return EXIT_PASS_BAD_IP;
	length = (ip->version_ihl & 15) * 4;
	if (length < sizeof(*ip))
		return EXIT_PASS_BAD_IP;
	t->family = 4;
	t->proto = ip->proto;
	t->fragment = (ip->frag & bpf_htons(0x3fff)) != 0;
	t->later = (ip->frag & bpf_htons(0x1fff)) != 0;
	map_v4(&t->src, ip->src);
	map_v4(&t->dst, ip->dst);
	c->at += length;
	return -1;
}

#define MAX_EXTENSIONS 8 // as package packet

// read_v6 reads an IPv6 header and its extension headers (RFC 8200 4) and leaves the cursor behind them. AH ends the walk:
// what it protects cannot be rewritten.
inline_always int read_v6(struct cursor *c, struct tuple *t)
{
	struct ipv6 *ip = c->at;
	__u8 *h;
	int i;

	if ((void *)(ip + 1) > c->end || ip->version >> 4 != 6)
		return EXIT_PASS_BAD_IP;
	t->family = 6;
	t->src = ip->src;
	t->dst = ip->dst;
	t->proto = ip->next;
	t->fragment = 0;
	t->later = 0;
	c->at = ip + 1;
	for (i = 0; i < MAX_EXTENSIONS; i++) {
		h = c->at;
		switch (t->proto) {
		case 0:  // hop by hop
		case 43: // routing
		case 60: // destination options
			if ((void *)(h + 8) > c->end)
				return EXIT_PASS_BAD_IP;
			t->proto = h[0];
			c->at = h + 8 + h[1] * 8;
			break;
		case 44: // fragment
			if ((void *)(h + 8) > c->end)
				return EXIT_PASS_BAD_IP;
			t->proto = h[0];
			c->at = h + 8;
			t->later = h[2] != 0 || (h[3] & 0xf8) != 0;
			t->fragment = t->later || (h[3] & 1) != 0;
			if (t->fragment)
				return -1;
			break;
		default:
			return -1;
		}
	}
	return EXIT_PASS_EXTENSIONS;
}

inline_always __u16 proto_bit(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return PROTO_TCP;
	case IPPROTO_UDP:
		return PROTO_UDP;
	case IPPROTO_SCTP:
		return PROTO_SCTP;
	}
	return 0;
}

// read_ports reads the first four bytes of TCP, UDP and SCTP.
inline_always int read_ports(struct cursor *c, struct tuple *t)
{
	__be16 *port = c->at;

	if ((void *)(port + 2) > c->end)
		return 0;
	t->sport = port[0];
	t->dport = port[1];
	return 1;
}

inline_always __u32 rule(const struct address *addr, __be16 port, __u8 proto, enum rule_kind kind)
{
	struct rule_key k = {.addr = *addr, .port = port, .proto = proto, .kind = kind};
	__u32 *v = bpf_map_lookup_elem(&rules, &k);

	return v ? *v : 0;
}

// marked tells whether a packet to addr:port lies in a mark's range; with any_port, whether one of its protocol could.
inline_always int marked(const struct address *addr, __u8 family, __u8 proto, __be16 port, int any_port)
{
	struct mark_key k = {.prefixlen = 32 + 128, .family = family, .addr = *addr};
	struct mark_value *v = bpf_map_lookup_elem(&marks, &k);
	struct address set = {};

	if (!v)
		return 0;
	if (any_port)
		return 1;
	if (v->all & proto_bit(proto))
		return 1;
	if (!(v->some & proto_bit(proto)))
		return 0;
	__builtin_memcpy(&set, &v->set, sizeof(v->set));
	return rule(&set, port, proto, KIND_MARK) != 0;
}

// ftp_data tells whether port could carry data of an FTP service (spec of LVS: port 20, or not privileged).
inline_always int ftp_data(__u8 proto, __be16 port)
{
	return proto == IPPROTO_TCP && (port == bpf_htons(20) || bpf_ntohs(port) >= 1024);
}

// to_service finds out whether addr:port is a virtual service or lies in a mark's range: the exit, or -1.
inline_always int to_service(const struct address *addr, __u8 family, __u8 proto, __be16 port, __u32 have)
{
	if (rule(addr, port, proto, KIND_SERVICE))
		return EXIT_TAKE_SERVICE;
	if (have & FEATURE_ANY_PORT && rule(addr, 0, proto, KIND_SERVICE))
		return EXIT_TAKE_SERVICE;
	if (have & FEATURE_FTP && ftp_data(proto, port) && rule(addr, bpf_htons(21), proto, KIND_SERVICE))
		return EXIT_TAKE_SERVICE;
	if (have & FEATURE_MARKS && marked(addr, family, proto, port, 0))
		return EXIT_TAKE_MARK;
	return -1;
}

// from_server tells whether addr:port is a real server of a NAT service, or could be where one begins an FTP data
// connection; the director tells those from the server's own traffic.
inline_always int from_server(const struct address *addr, __u8 proto, __be16 port, __u32 have)
{
	if (!(have & FEATURE_SERVERS))
		return 0;
	if (rule(addr, port, proto, KIND_SERVER))
		return 1;
	if (have & FEATURE_ANY_PORT && rule(addr, 0, proto, KIND_SERVER))
		return 1;
	return have & FEATURE_FTP && ftp_data(proto, port) && rule(addr, 0, 0, KIND_ADDRESS) & ADDRESS_FTP;
}

// by_address is for what has no ports: to a service's address, from a NAT server's, or into a mark's range.
inline_always int by_address(const struct address *src, const struct address *dst, __u8 family, __u8 proto, __u32 have)
{
	if (rule(dst, 0, 0, KIND_ADDRESS) & ADDRESS_SERVICE)
		return 1;
	if (have & FEATURE_SERVERS && rule(src, 0, 0, KIND_ADDRESS) & ADDRESS_SERVER)
		return 1;
	return have & FEATURE_MARKS && marked(dst, family, proto, 0, 1);
}

// steer_embedded looks at the packet that an ICMP error is about. It went the other way: from a service to a client, or
// from a client to a service or, translated, to a server; or it was a tunnel packet of the director's own.
inline_always int steer_embedded(struct cursor *c, struct tuple *t, __u32 have)
{
	__u8 family = t->family;
	int exit = family == 4 ? read_v4(c, t) : read_v6(c, t);

	if (exit >= 0 || t->later)
		return EXIT_PASS_ICMP_OTHER;
	switch (t->proto) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
		if (have & FEATURE_TUNNELS && rule(&t->dst, 0, t->proto, KIND_TUNNEL))
			return EXIT_TAKE_TUNNEL;
		return EXIT_PASS_ICMP_OTHER;
	case IPPROTO_ESP:
	case IPPROTO_AH:
		if (by_address(&t->dst, &t->src, family, t->proto, have) || rule(&t->dst, 0, 0, KIND_ADDRESS) & ADDRESS_SERVICE)
			return EXIT_TAKE_ICMP;
		return EXIT_PASS_ICMP_OTHER;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		break;
	default:
		return EXIT_PASS_ICMP_OTHER;
	}
	if (!read_ports(c, t))
		return EXIT_PASS_ICMP_OTHER;
	if (to_service(&t->src, family, t->proto, t->sport, have) >= 0)
		return EXIT_TAKE_ICMP;
	if (to_service(&t->dst, family, t->proto, t->dport, have) >= 0)
		return EXIT_TAKE_ICMP;
	if (from_server(&t->dst, t->proto, t->dport, have))
		return EXIT_TAKE_ICMP;
	if (have & FEATURE_TUNNELS && t->proto == IPPROTO_UDP && rule(&t->dst, t->dport, IPPROTO_UDP, KIND_TUNNEL))
		return EXIT_TAKE_TUNNEL;
	return EXIT_PASS_ICMP_OTHER;
}

// steer_icmp lets only errors through: IPv4 types 3, 4 and 11, IPv6 types below 128.
inline_always int steer_icmp(struct cursor *c, struct tuple *t, __u32 have)
{
	__u8 *icmp = c->at;

	if ((void *)(icmp + 8) > c->end)
		return EXIT_PASS_TRANSPORT;
	if (t->family == 4 ? icmp[0] != 3 && icmp[0] != 4 && icmp[0] != 11 : icmp[0] >= 128)
		return EXIT_PASS_ICMP;
	c->at += 8;
	return steer_embedded(c, t, have);
}

inline_always int steer_ip(struct cursor *c, struct tuple *t, __u32 have)
{
	int exit;

	if (t->fragment)
		return by_address(&t->src, &t->dst, t->family, t->proto, have) ? EXIT_TAKE_FRAGMENT : EXIT_PASS_FRAGMENT;
	switch (t->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		break;
	case IPPROTO_ICMP:
		return t->family == 4 ? steer_icmp(c, t, have) : EXIT_PASS_PROTOCOL;
	case IPPROTO_ICMPV6:
		return t->family == 6 ? steer_icmp(c, t, have) : EXIT_PASS_PROTOCOL;
	case IPPROTO_ESP:
	case IPPROTO_AH:
		return by_address(&t->src, &t->dst, t->family, t->proto, have) ? EXIT_TAKE_IPSEC : EXIT_PASS_PROTOCOL;
	default:
		return EXIT_PASS_PROTOCOL;
	}
	if (!read_ports(c, t))
		return EXIT_PASS_TRANSPORT;
	exit = to_service(&t->dst, t->family, t->proto, t->dport, have);
	if (exit >= 0)
		return exit;
	if (from_server(&t->src, t->proto, t->sport, have))
		return EXIT_TAKE_SERVER;
	return EXIT_PASS_NO_RULE;
}

// take gives the packet to the socket of its queue.
inline_always int take(struct xdp_md *ctx, const struct interface_value *ifc, enum steer_exit exit)
{
	__u32 queue = ctx->rx_queue_index;
	int verdict = XDP_DROP;

	if (queue < ifc->queues)
		verdict = bpf_redirect_map(&xsks, ifc->base + queue, XDP_DROP);
	if (verdict != XDP_REDIRECT)
		exit = EXIT_DROP_NO_SOCKET;
	return leave(exit, verdict);
}

SEC("xdp")
int fastlb_steer(struct xdp_md *ctx)
{
	struct cursor c = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct ethernet *eth = c.at;
	struct interface_key key = {.ifindex = ctx->ingress_ifindex};
	struct interface_value *ifc;
	struct tuple t = {};
	struct vlan *tag;
	__u32 zero = 0, *have;
	__be16 type;
	int i, exit;

	if ((void *)(eth + 1) > c.end)
		return leave(EXIT_PASS_RUNT, XDP_PASS);
	__builtin_memcpy(key.mac, eth->dst, sizeof(key.mac));
	ifc = bpf_map_lookup_elem(&interfaces, &key);
	if (!ifc)
		return leave(EXIT_PASS_NOT_HOST, XDP_PASS);
	type = eth->type;
	c.at = eth + 1;
	for (i = 0; i < 2; i++) {
		if (type != bpf_htons(0x8100) && type != bpf_htons(0x88a8))
			break;
		tag = c.at;
		if ((void *)(tag + 1) > c.end)
			return leave(EXIT_PASS_RUNT, XDP_PASS);
		type = tag->type;
		c.at = tag + 1;
	}
	if (type == bpf_htons(0x0800))
		exit = read_v4(&c, &t);
	else if (type == bpf_htons(0x86dd))
		exit = read_v6(&c, &t);
	else
		exit = EXIT_PASS_NOT_IP;
	if (exit >= 0)
		return leave(exit, XDP_PASS);
	have = bpf_map_lookup_elem(&features, &zero);
	if (!have)
		return leave(EXIT_PASS_NO_RULE, XDP_PASS);
	exit = steer_ip(&c, &t, *have);
	if (exit < EXIT_TAKE_SERVICE)
		return leave(exit, XDP_PASS);
	return take(ctx, ifc, exit);
}
