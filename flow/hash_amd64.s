//go:build !race

#include "textflag.h"

// func hashVector(p *Probe, n int, s *secrets, buckets uint64, index uintptr)
TEXT ·hashVector(SB), NOSPLIT, $0-40
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
	MOVQ s+16(FP), SI
	MOVQ buckets+24(FP), BX
	MOVQ index+32(FP), DI
	MOVQ $0x0000ffffffffffff, R13 // what of a key's last word counts
	TESTQ CX, CX
	JLE  done
next:
	MOVQ 0(AX), DX
	MOVQ 8(AX), R8
	XORQ 0(SI), DX
	XORQ 8(SI), R8
	MULXQ R8, R9, R10
	MOVQ 16(AX), DX
	MOVQ 24(AX), R8
	XORQ 16(SI), DX
	XORQ 24(SI), R8
	MULXQ R8, R11, R12
	MOVQ 32(AX), DX
	ANDQ R13, DX
	XORQ R9, R10
	XORQ 32(SI), DX
	XORQ R11, R12
	XORQ R10, DX
	XORQ 40(SI), R12
	MULXQ R12, R9, R10
	XORQ R10, R9
	MOVQ R9, DX
	MULXQ BX, R8, R10             // home
	SHLQ $6, R10
	ADDQ DI, R10
	MOVQ R9, 40(AX)               // Hash
	MOVQ R10, 56(AX)              // the bucket
	PREFETCHT0 (R10)
	ADDQ $64, AX
	DECQ CX
	JNZ  next
done:
	RET
