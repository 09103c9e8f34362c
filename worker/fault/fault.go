//go:build !faults

// Package fault makes a process fail at a named moment, for tests on the built binary
// (cmd/pushd). In an ordinary build it is one empty function; with the tag `faults` it
// does what a file says.
package fault

// Point marks such a moment, on any goroutine; see fault_on.go.
func Point(string) {}
