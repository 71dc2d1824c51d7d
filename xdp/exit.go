package xdp

// Exit is a way out of the steering program; each packet takes exactly one. The text is what metrics and status call it.
type Exit uint32

// The exits of steer.c, which explains them.
const (
	PassRunt       = Exit(steerSteerExitEXIT_PASS_RUNT)
	PassNotHost    = Exit(steerSteerExitEXIT_PASS_NOT_HOST)
	PassNotIP      = Exit(steerSteerExitEXIT_PASS_NOT_IP)
	PassBadIP      = Exit(steerSteerExitEXIT_PASS_BAD_IP)
	PassExtensions = Exit(steerSteerExitEXIT_PASS_EXTENSIONS)
	PassProtocol   = Exit(steerSteerExitEXIT_PASS_PROTOCOL)
	PassTransport  = Exit(steerSteerExitEXIT_PASS_TRANSPORT)
	PassNoRule     = Exit(steerSteerExitEXIT_PASS_NO_RULE)
	PassFragment   = Exit(steerSteerExitEXIT_PASS_FRAGMENT)
	PassICMP       = Exit(steerSteerExitEXIT_PASS_ICMP)
	PassICMPOther  = Exit(steerSteerExitEXIT_PASS_ICMP_OTHER)
	TakeService    = Exit(steerSteerExitEXIT_TAKE_SERVICE)
	TakeMark       = Exit(steerSteerExitEXIT_TAKE_MARK)
	TakeServer     = Exit(steerSteerExitEXIT_TAKE_SERVER)
	TakeFragment   = Exit(steerSteerExitEXIT_TAKE_FRAGMENT)
	TakeICMP       = Exit(steerSteerExitEXIT_TAKE_ICMP)
	TakeTunnel     = Exit(steerSteerExitEXIT_TAKE_TUNNEL)
	TakeIPsec      = Exit(steerSteerExitEXIT_TAKE_IPSEC)
	DropNoSocket   = Exit(steerSteerExitEXIT_DROP_NO_SOCKET)

	Exits = Exit(steerSteerExitEXIT_COUNT) // number of exits
)

var exitNames = [Exits]string{
	PassRunt: "pass_runt", PassNotHost: "pass_not_host", PassNotIP: "pass_not_ip", PassBadIP: "pass_bad_ip",
	PassExtensions: "pass_extensions", PassProtocol: "pass_protocol", PassTransport: "pass_transport",
	PassNoRule: "pass_no_rule", PassFragment: "pass_fragment", PassICMP: "pass_icmp", PassICMPOther: "pass_icmp_other",
	TakeService: "take_service", TakeMark: "take_mark", TakeServer: "take_server", TakeFragment: "take_fragment",
	TakeICMP: "take_icmp", TakeTunnel: "take_tunnel", TakeIPsec: "take_ipsec", DropNoSocket: "drop_no_socket",
}

func (e Exit) String() string {
	if e < Exits {
		return exitNames[e]
	}
	return "unknown"
}

// Taken tells whether packets that leave here go to the director.
func (e Exit) Taken() bool { return e >= TakeService && e <= TakeIPsec }
