// Package e2e holds the end-to-end tests: the fastlb binary in network namespaces, packets of real kernels' sockets
// through the real AF_XDP to real servers, on the sites that package lab builds.
//
// The tests need root and skip without it, saying so; with FASTLB_REQUIRE_E2E=1 in the environment they fail instead.
// What can be shown on a lower rung (packets, memory rings, replay, scenarios, Program.Run) is shown there; here is what
// only the whole shows: that the kernel's halves agree.
package e2e
