#include "textflag.h"

// func prefetchProbes(p *Probe, n int, line uintptr)
TEXT ·prefetchProbes(SB), NOSPLIT, $0-24
	MOVD p+0(FP), R0
	MOVD n+8(FP), R1
	MOVD line+16(FP), R3
	CMP  $0, R1
	BLE  done
next:
	MOVD 56(R0), R2
	ADD  R3, R2, R2
	PRFM (R2), PLDL1KEEP
	ADD  $64, R0, R0
	SUBS $1, R1, R1
	BNE  next
done:
	RET
