//go:build !faults

package tls

// sealing is where the tests watch nonces; see nonces_on.go.
func sealing(_, _ []byte) {}
