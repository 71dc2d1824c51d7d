#include "textflag.h"

// func prefetchProbes(p *Probe, n int, line uintptr)
TEXT ·prefetchProbes(SB), NOSPLIT, $0-24
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
	MOVQ line+16(FP), DX
	TESTQ CX, CX
	JLE  done
next:
	MOVQ 56(AX), BX
	PREFETCHT0 (BX)(DX*1)
	ADDQ $64, AX
	DECQ CX
	JNZ  next
done:
	RET
