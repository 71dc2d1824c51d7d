// Package ringtest plays the kernel's half of an AF_XDP socket for tests, also wrongly: stale indexes, completions that
// never come, a fill ring that nobody empties, a TX ring that is emptied in part, wakeups that fail. It counts the frames
// in its hands, so that a test can show at the end that none was lost and none exists twice.
//
// For measurements ring.Kernel alone is cheaper.
package ringtest
