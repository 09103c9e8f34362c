// Package testkit is what the tests of several packages need: patience, the
// frames of a WebSocket client, and streams cut into packets.
package testkit

import (
	"testing"
	"time"
)

// Patience bounds waits: a busy machine may need it, no test measures against it.
const Patience = time.Minute

// Eventually waits until ok returns true, and fails the test if it never does.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened within %s: %s", Patience, what)
		}
	}
}
