package perf

// String is the reason's text.
func (r Reason) String() string { return reasonTexts[r] }

// Doc is the reason's explanation.
func (r Reason) Doc() string { return reasonDocs[r] }

// IsPass tells whether the packet was left to the kernel rather than dropped.
func (r Reason) IsPass() bool { return r >= PassNotIP }
