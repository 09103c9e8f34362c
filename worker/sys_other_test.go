//go:build !linux

package worker

// The tests compile on other systems, for editors and vet.
const (
	closeOnExec = 0
	nonBlocking = 0
)
