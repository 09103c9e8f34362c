//go:build linux

package master

import (
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
)

// TestHeirOfOneThatDies: a new process that has been told of connections to come
// waits for them, and for what a program carries. Its old one dies before it has
// handed over any, and what is started in its place hangs: the new one is told
// that nothing comes, and serves.
func TestHeirOfOneThatDies(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	old := i.worker(0).PID
	r.behave("worker", "hang") // whatever is to serve until the new one is ready
	r.behave("next", "await="+r.path("go-on"))
	r.plan.Workers[0].Spec = r.spec("next", "")
	r.savePlan()
	reloaded := make(chan error, 1)
	go func() {
		_, err := i.client.Reload(ctxFor(t), nil)
		reloaded <- err
	}()
	testkit.Eventually(t, "the new process waits", func() bool { return r.read("awaiting") != "" })
	kill(t, old, syscall.SIGKILL)
	testkit.Eventually(t, "the old one is known to be dead", func() bool { return strings.Contains(r.read("log"), "process died") })
	r.write("go-on", "")
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	next := strings.TrimSpace(r.read("awaiting"))
	if w := i.worker(0); w.State != Ready || strconv.Itoa(w.PID) != next {
		t.Errorf("%+v serves, wants the process %s", w, next)
	}
	if got := r.read(control.TypeImport); strings.Count(got, "\n") != 1 || r.read(control.TypeExport) != "" {
		t.Errorf("imports were %q, exports %q: wants one that ends before it begins", got, r.read(control.TypeExport))
	}
	i.stop()
}
