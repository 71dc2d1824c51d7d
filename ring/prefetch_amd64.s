#include "textflag.h"

// func prefetchPackets(mem *byte, d *Desc, n int)
TEXT ·prefetchPackets(SB), NOSPLIT, $0-24
	MOVQ mem+0(FP), DX
	MOVQ d+8(FP), AX
	MOVQ n+16(FP), CX
	TESTQ CX, CX
	JLE  done
next:
	MOVQ (AX), BX
	PREFETCHT0 (BX)(DX*1)
	ADDQ $16, AX
	DECQ CX
	JNZ  next
done:
	RET
