package reactor

import (
	"bytes"
	"runtime/pprof"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// TestNoPoolTicks: what gnet starts with the program and nobody needs is gone.
func TestNoPoolTicks(t *testing.T) {
	testkit.Eventually(t, "the goroutines of gnet's pool have ended", func() bool {
		var stacks bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		return !bytes.Contains(stacks.Bytes(), []byte("panjf2000/ants"))
	})
}
