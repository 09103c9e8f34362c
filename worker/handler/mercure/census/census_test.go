package census

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
)

// A process that is gone takes its subscriptions along, once, but those that have
// moved to another one or have ended before; and nobody is told when all are closed.
func TestCensus(t *testing.T) {
	var published []string
	var due []func()
	s := &census{}
	if err := s.Start(&worker.ServiceEnv{
		Log:   slog.New(slog.DiscardHandler),
		After: func(_ time.Duration, fn func()) { due = append(due, fn) },
		Publish: func(ps ...worker.Publication) error {
			for _, p := range ps {
				e, err := wire.ParseEvent(p.Data)
				if err != nil || p.Target != "mercure:x" || !e.Private || e.Type != wire.EventType || !strings.Contains(e.Data, `"active":false`) {
					t.Errorf("%+v, %v", p, err)
				}
				published = append(published, e.Topics[0])
			}
			return nil
		},
	}); err != nil {
		t.Fatal(err)
	}
	tell := func(from, id string, documents ...string) {
		name, process, _ := strings.Cut(from, "'") // a' is the one that came after a
		w := Word{Process: name + "'" + process, Hub: "mercure:x", Subscriber: id}
		from = name
		for _, d := range documents {
			w.Documents = append(w.Documents, wire.Document{ID: d, Active: true})
		}
		b, _ := json.Marshal(w)
		s.Tell(from, b)
	}
	roster := func(workers ...string) {
		s.Roster(workers)
		for _, fn := range due {
			fn()
		}
		due = nil
	}
	roster("a", "b")
	tell("a", "1", "1/x", "1/y")
	tell("a", "2", "2/x")
	tell("a", "3", "3/x")
	tell("b", "4", "4/x")
	tell("c", "2", "2/x") // has moved
	tell("a", "3")        // has ended
	tell("a", "2")        // the old one's word, too late
	s.Tell("a", []byte("damaged"))
	roster("b", "c")
	roster("b", "c")
	if got := strings.Join(published, " "); got != "1/x 1/y" {
		t.Errorf("published %s", got)
	}
	tell("b'2", "") // b has died, and another has its name
	roster("b", "c")
	if got := strings.Join(published, " "); got != "1/x 1/y 4/x" {
		t.Errorf("published %s", got)
	}
	s.Parting()
	roster()
	if len(published) != 3 || len(s.streams) != 0 {
		t.Errorf("published %v, left %v", published, s.streams)
	}
}
