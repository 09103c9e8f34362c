package examples

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// page is a client that does what recover/index.html does.
type page struct {
	p        *program
	socket   client
	position string
}

func (g *page) connect() {
	g.p.t.Helper()
	path := "/chat?positions=1"
	if g.position != "" {
		path += "&after=" + g.position
	}
	g.socket = g.p.dial(path)
}

// hear reads the messages behind first up to last, each once and in order; who is
// back reads on until it is told how many of them it had missed.
func (g *page) hear(first, last int, back bool) (missed int) {
	g.p.t.Helper()
	for at := first; at < last || back; {
		var m struct {
			Position, Reason string
			Data             *string
			Recovered        *bool
			Count            int
		}
		_, raw := g.socket.next()
		must(g.p.t, json.Unmarshal([]byte(raw), &m))
		switch want := fmt.Sprint("ann ", at+1); {
		case m.Recovered != nil && !*m.Recovered:
			g.p.t.Fatalf("what was missed is gone: %s", m.Reason)
		case m.Recovered != nil:
			missed, back = m.Count, false
		case m.Data != nil && *m.Data != want:
			g.p.t.Fatalf("heard %q, want %q", *m.Data, want)
		case m.Data != nil:
			at++
		}
		g.position = m.Position
	}
	return missed
}

// TestRecover cuts a client in the middle of a stream, with messages on their
// way to it, and lets it come back: at once, behind a reload, behind the death
// of all workers.
func TestRecover(t *testing.T) {
	config, err := os.ReadFile("recover/pushd.toml")
	must(t, err)
	p := run(t, "recover", pushdtest.Options{Config: strings.ReplaceAll(string(config), "8095", "{{port}}")})
	p.servesPage()
	said := 0
	say := func(n int) { // and wait until the history has it
		t.Helper()
		for range n {
			said++
			if status, answer := p.Post("/v1/publish", map[string]any{"channel": "chat:lobby", "data": fmt.Sprint("ann ", said)}); status != 200 {
				t.Fatalf("%d %v", status, answer)
			}
		}
	}
	g := &page{p: p}
	g.connect()
	g.socket.next() // where it is, before anybody speaks
	for _, x := range []struct {
		name      string
		meanwhile func()
	}{
		{"at once", func() {}},
		{"a reload", func() { p.MustRun("reload") }},
		{"killed workers", func() {
			for _, w := range p.Status().Workers {
				p.Kill(w.PID)
			}
			pushdtest.Eventually(t, "the workers are back", func() bool {
				for _, w := range p.Status().Workers {
					if w.State != "ready" {
						return false
					}
				}
				return true
			})
		}},
	} {
		from := said
		say(20)
		g.hear(from, from+15, false)
		g.socket.Conn.Close() // 5 are on their way
		say(20)
		x.meanwhile()
		g.connect()
		say(5)
		if missed := g.hear(from+15, said, true); missed < 25 {
			t.Errorf("%s: %d are told as missed, at least 25 were", x.name, missed)
		}
	}
}
