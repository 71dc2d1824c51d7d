//go:build !race

#include "textflag.h"

// The words of a bucket are read by vector loads. An aligned 8-byte element of one is never torn on any processor that
// has AVX2, and x86 orders loads, so this sees what eight atomic loads would.

// func matchAVX2(p *Probe, n int, recs uintptr)
TEXT ·matchAVX2(SB), NOSPLIT, $0-24
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
	MOVQ recs+16(FP), SI
	TESTQ CX, CX
	JLE  done
	MOVQ $0x001fffff00000000, DI  // tagMask
	MOVQ $0x00bfffff00000000, BX  // matchMask
	VMOVQ BX, X2
	VPBROADCASTQ X2, Y2
	XORL R12, R12
next:
	MOVQ 40(AX), BX               // Hash → tag
	MOVQ 56(AX), DX               // the bucket
	SHLQ $32, BX
	BTSQ $32, BX
	ANDQ DI, BX
	VMOVQ BX, X0
	VPBROADCASTQ X0, Y0
	VPAND (DX), Y2, Y3
	VPAND 32(DX), Y2, Y4
	VPCMPEQQ Y0, Y3, Y3
	VPCMPEQQ Y0, Y4, Y4
	VMOVMSKPD Y3, R8
	VMOVMSKPD Y4, R9
	SHLL $4, R9
	ORL  R9, R8
	BSFL R8, R9                   // the first that matches; ZF if none does
	CMOVLEQ R12, R9
	MOVQ (DX)(R9*8), R10
	CMOVQEQ R12, R10
	MOVL R10, 48(AX)              // Ref
	MOVQ R10, R11
	SHRQ $54, R11
	ANDL $1, R11
	MOVB R11, 52(AX)              // Dir
	MOVL R10, R10
	SHLQ $7, R10
	ADDQ SI, R10
	PREFETCHT0 (R10)
	ADDQ $64, AX
	DECQ CX
	JNZ  next
	VZEROUPPER
done:
	RET
