// Package api is the director's HTTP/JSON interface on a unix socket, and the client of it that every subcommand uses.
//
//	GET  /v1/status                    director.Status
//	GET  /v1/info                      version and table size, as ipvsadm's header has them
//	GET  /v1/services                  services with their servers, counts and rates
//	GET  /v1/services/{id}             one; id is tcp:192.0.2.10:80, udp:[2001:db8::10]:53, mark:1 or mark:1:6
//	GET  /v1/services/{id}/servers     its servers
//	GET  /v1/connections               one JSON object a line (NDJSON), streamed in constant memory
//	GET  /v1/timeouts, /v1/daemons     as ipvsadm lists them
//	POST /v1/ops                       a list of control.Op, carried out in order until one fails
//	POST /v1/reload                    reads the configuration file again and applies the difference
//
// Problems are application/problem+json (RFC 9457) with the errno of the control interface inside, so that the client
// gives back the error that the director met. The package never listens on TCP.
//
// Client implements ipvsadm.Engine: ipvsadm works over the socket as it does on the table itself.
package api
