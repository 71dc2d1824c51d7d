//go:build !race

#include "textflag.h"

// Where a client's or server's IPv4 address goes in a key: ::ffff:a.b.c.d. The shuffles take from the 16 bytes that begin
// with the TTL: TTL, protocol, checksum, source, destination, source port, destination port.
DATA shuffleSource<>+0(SB)/8, $0x8080808080808080
DATA shuffleSource<>+8(SB)/8, $0x0706050480808080
GLOBL shuffleSource<>(SB), RODATA|NOPTR, $16
DATA shuffleDest<>+0(SB)/8, $0x8080808080808080
DATA shuffleDest<>+8(SB)/8, $0x0b0a090880808080
GLOBL shuffleDest<>(SB), RODATA|NOPTR, $16
DATA mapped<>+0(SB)/8, $0x0000000000000000
DATA mapped<>+8(SB)/8, $0x00000000ffff0000
GLOBL mapped<>(SB), RODATA|NOPTR, $16

// The key's last word: ports in host order, protocol, family 4.
DATA shufflePorts<>+0(SB)/8, $0x808080010e0f0c0d
DATA shufflePorts<>+8(SB)/8, $0x8080808080808080
GLOBL shufflePorts<>(SB), RODATA|NOPTR, $16
DATA family4<>+0(SB)/8, $0x0000040000000000
DATA family4<>+8(SB)/8, $0x0000000000000000
GLOBL family4<>(SB), RODATA|NOPTR, $16

// The first 16 bytes of a Parsed, from those of the IPv4 header: Len, L3 14, L4 34, no VLAN twice, Transport, flags (filled
// in later), TTL, TOS.
DATA shuffleParsed<>+0(SB)/8, $0x8080808080800203
DATA shuffleParsed<>+8(SB)/8, $0x0108808080808080
GLOBL shuffleParsed<>(SB), RODATA|NOPTR, $16
DATA plainParsed<>+0(SB)/8, $0x0022000e00000000
DATA plainParsed<>+8(SB)/8, $0x00000000ffffffff
GLOBL plainParsed<>(SB), RODATA|NOPTR, $16

// func parseVector(mem *byte, size uint64, d *ring.Desc, n int, parsed *packet.Parsed, probes *flow.Probe) (bytes uint64, rest int)
//
// It reads no byte that the descriptor does not give it, and none outside of mem.
TEXT ·parseVector(SB), NOSPLIT, $0-64
	MOVQ mem+0(FP), DI
	MOVQ size+8(FP), SI
	MOVQ d+16(FP), DX
	MOVQ n+24(FP), CX
	MOVQ parsed+32(FP), R8
	MOVQ probes+40(FP), R9
	XORL R11, R11                 // bytes
	XORL R12, R12                 // rest
	TESTQ CX, CX
	JLE  done
	VMOVDQU shuffleSource<>(SB), X8
	VMOVDQU shuffleDest<>(SB), X9
	VMOVDQU mapped<>(SB), X10
	VMOVDQU shufflePorts<>(SB), X11
	VMOVDQU family4<>(SB), X12
	VMOVDQU shuffleParsed<>(SB), X13
	VMOVDQU plainParsed<>(SB), X14
next:
	MOVQ 0(DX), AX                // Addr
	MOVL 8(DX), BX                // Len
	ADDQ BX, R11
	CMPQ AX, SI
	JHI  slow
	LEAQ (AX)(BX*1), R10
	CMPQ R10, SI
	JHI  slow
	ADDQ DI, AX                   // the frame
	CMPL BX, $54
	JCS  slow
	MOVL 12(AX), R10
	ANDL $0x00ffffff, R10
	CMPL R10, $0x00450008         // IPv4, no options
	JNE  six
	MOVQ 14(AX), R10
	MOVQ 22(AX), R13
	MOVL 30(AX), R14
	ADDQ R13, R14                 // the header's checksum, as in packet.Parse
	ADCQ R10, R14
	ADCQ $0, R14
	MOVQ R14, R15
	ROLQ $32, R15
	ADDQ R15, R14
	SHRQ $32, R14
	MOVL R14, R15
	ROLL $16, R15
	ADDL R15, R14
	SHRL $16, R14
	CMPL R14, $0xffff
	JNE  slow
	MOVQ R10, R14
	SHRQ $48, R14
	TESTL $0xff3f, R14            // more fragments, or not the first
	JNE  slow
	SHRL $16, R10
	ROLW $8, R10                  // total length
	SUBL $14, BX
	CMPL R10, BX
	JHI  slow
	SHRL $8, R13
	MOVBLZX R13, R13              // protocol
	XORL R15, R15
	CMPL R13, $6
	JNE  udp4
	CMPL R10, $40
	JCS  slow
	MOVBLZX 47(AX), R15           // TCP flags
store4:
	VMOVDQU 14(AX), X1
	VMOVDQU 22(AX), X0
	VPSHUFB X8, X0, X2
	VPSHUFB X9, X0, X3
	VPSHUFB X11, X0, X4
	VPSHUFB X13, X1, X5
	VPOR X10, X2, X2
	VPOR X10, X3, X3
	VPOR X12, X4, X4
	VPOR X14, X5, X5
	VMOVDQU X2, 0(R9)
	VMOVDQU X3, 16(R9)
	VMOVQ X4, 32(R9)
	VMOVDQU X5, 0(R8)
	SHRL $6, R14
	ANDL $1, R14
	MOVB R15, 13(R8)
	MOVB R14, 16(R8)              // DF
	JMP  advance
udp4:
	CMPL R13, $17
	JNE  slow
	CMPL R10, $28
	JCC  store4
	JMP  slow
six:
	CMPL BX, $62
	JCS  slow
	MOVWLZX 12(AX), R10
	CMPL R10, $0xdd86
	JNE  slow
	MOVWLZX 14(AX), R10
	ROLW $8, R10                  // version, traffic class, upper flow label
	MOVL R10, R13
	SHRL $12, R13
	CMPL R13, $6
	JNE  slow
	SHRL $4, R10
	SHLL $24, R10                 // TOS, in place
	MOVWLZX 18(AX), R13
	ROLW $8, R13
	ADDL $40, R13                 // total length
	SUBL $14, BX
	CMPL R13, BX
	JHI  slow
	MOVBLZX 20(AX), BX            // next header
	CMPL BX, $6
	JNE  udp6
	CMPL R13, $60
	JCS  slow
	MOVBLZX 67(AX), R14           // TCP flags
	SHLL $8, R14
	ORL  R14, R10
store6:
	MOVBLZX 21(AX), R14           // hop limit
	SHLL $16, R14
	ORL  R14, R10
	VMOVDQU 22(AX), X2
	VMOVDQU 38(AX), X3
	MOVL 54(AX), R14
	BSWAPL R14
	ROLL $16, R14                 // ports in host order
	SHLQ $32, BX
	ORQ  BX, R14
	BTSQ $41, R14                 // family 6
	BTSQ $42, R14
	VMOVDQU X2, 0(R9)
	VMOVDQU X3, 16(R9)
	MOVQ R14, 32(R9)
	MOVQ $0xffffffff0036000e, BX  // no VLAN twice, L4 54, L3 14
	MOVL R13, 0(R8)
	MOVQ BX, 4(R8)
	MOVL R10, 12(R8)
	MOVB $1, 16(R8)               // DF
advance:
	ADDQ $16, DX
	ADDQ $20, R8
	ADDQ $64, R9
	DECQ CX
	JNZ  next
done:
	MOVQ R11, bytes+48(FP)
	MOVQ R12, rest+56(FP)
	RET
udp6:
	CMPL BX, $17
	JNE  slow
	CMPL R13, $48
	JCC  store6
slow:
	MOVB $255, 12(R8)             // unparsed
	INCQ R12
	JMP  advance
