module github.com/fastlb/fastlb/perf/peers

go 1.26.0

replace github.com/fastlb/fastlb => ../..

require (
	github.com/asavie/xdp v0.3.3
	github.com/cilium/ebpf v0.22.0
	github.com/fastlb/fastlb v0.0.0-00010101000000-000000000000
	github.com/vishvananda/netlink v1.3.1
	golang.org/x/sys v0.49.0
)

require github.com/vishvananda/netns v0.0.5 // indirect
