//go:build !faults

package worker

// failpoint marks a moment at which the tests make a process fail. In an
// ordinary build it does nothing; see fault_on.go.
func failpoint(string) {}
