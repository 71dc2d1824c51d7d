#include "textflag.h"

// func prefetchPackets(mem *byte, d *Desc, n int)
TEXT ·prefetchPackets(SB), NOSPLIT, $0-24
	MOVD mem+0(FP), R3
	MOVD d+8(FP), R0
	MOVD n+16(FP), R1
	CMP  $0, R1
	BLE  done
next:
	MOVD (R0), R2
	ADD  R3, R2, R2
	PRFM (R2), PLDL1KEEP
	ADD  $16, R0, R0
	SUBS $1, R1, R1
	BNE  next
done:
	RET
