// Package xdp steers packets: a program on every interface of the director takes from the wire what the director has
// business with and gives it to the AF_XDP socket of the packet's queue; all other packets go to the kernel at once.
//
// steer.c is the program, Rules what it shall take, Programs the loaded program with its maps, Attachment its presence on
// one interface. The package opens no sockets and reads no packets; it is driven by director.
package xdp
