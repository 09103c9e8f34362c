package pusher

import (
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// TestProofWhateverTheClock: the time that a client has to show who it is ends,
// behind a reload too, when the clock was set back, and does not end early when it
// was set forwards.
func TestProofWhateverTheClock(t *testing.T) {
	program := func() *worker.Worker {
		w := worker.New()
		h, err := New(nil)
		if err != nil {
			t.Fatal(err)
		}
		a := fallbackApp()
		a.AnonymousTimeout = 10 * time.Second
		SetApps(w, a)
		w.Routes = []worker.Route{{Pattern: "/app/{key}", Handler: h}}
		return w
	}
	for _, leap := range []time.Duration{-time.Hour, time.Hour, -24 * time.Hour, 30 * 24 * time.Hour} {
		s := workertest.Start(t, program())
		c := s.Dial("/app/" + appKey)
		s.Advance(5 * time.Second)
		s.Leap(leap)
		s.Reload(program())
		s.Advance(4 * time.Second)
		if c.Closed() {
			t.Errorf("closed 9 s after the handshake, the clock was set by %v", leap)
		}
		s.Advance(7 * time.Second) // begun anew at most
		c.WantClose(wire.CodeUnauthorized)
	}
}
