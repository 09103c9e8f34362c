package mercure_test

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/cluster"
)

// readers are the names of those who follow the history that the nodes share.
func readers(t *testing.T, s jetstream.Stream) (names []string) {
	t.Helper()
	list := s.ConsumerNames(t.Context())
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

// A reload that gives other channels a history does not end what subscribers are read of
// all that is kept, more than a page of it: who comes back has all of that, and what is new,
// and is told of a loss once at most.
func TestOtherRulesThanBefore(t *testing.T) {
	text := config + `
[history]
store = "jetstream"
replicas = 1
`
	c := cluster.Start(t, cluster.Options{Nodes: 1, Config: text})
	s := c.Nodes[0].Server
	raw, reader := token(t, grant([]string{"publish"}, "*")), token(t, grant([]string{"subscribe"}, "secret"))
	var want []string
	first := ""
	for i := range 1100 {
		if id := must(t, s, raw, fmt.Sprint(i), "secret"); i == 0 {
			first = id
		}
		want = append(want, fmt.Sprint(i))
	}
	before, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	s.WriteConfig(string(before) + "[[channel]]\nmatch = \"roll.*\"\nhistory = 10\n")
	s.MustRun("reload")
	for _, last := range []string{"earliest", first} {
		p := resume(t, s, "", last, reader)
		if p.field != "earliest" {
			t.Errorf("%s: Mercure-Last-Event-ID %q", last, p.field)
		}
		must(t, s, raw, "live", "secret")
		want = append(want, "live")
		var got []string
		for lost := 0; len(got) < len(want) && lost < 2; {
			if e, err := p.Next(); err != nil {
				t.Fatal(err)
			} else if e.Type == "pushd:lost" {
				lost++
			} else if e.Data != nil {
				got = append(got, string(e.Data))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %d of %d: %.100q", last, len(got), len(want), got)
		}
	}
}

// Who comes with an id that this node has not read up to yet goes on behind it once
// that is read. It gets nothing again, and the header says so.
func TestAheadOfTheNode(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Config: config + `
[history]
store = "jetstream"
replicas = 1
`})
	nc, err := nats.Connect("nats://" + c.NATS[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "pushd_history")
	if err != nil {
		t.Fatal(err)
	}
	one, two := c.Nodes[0], c.Nodes[1]
	raw := token(t, grant([]string{"publish"}, "*"))
	reader := token(t, grant([]string{"subscribe"}, "secret"))
	first := must(t, one.Server, raw, "0", "secret")

	const history = "/v1/history?channel=mercure:my-app&after="
	before := readers(t, stream)
	two.Kill(two.Status().Broker.PID)
	var its string
	pushdtest.Eventually(t, "another reader of the second node is there, and has read", func() bool {
		for _, name := range readers(t, stream) {
			if !slices.Contains(before, name) {
				its = name
			}
		}
		_, answer := two.Do("GET", history+url.QueryEscape(strings.TrimPrefix(first, "#")), nil)
		return its != "" && answer["position"] != nil
	})
	if _, err := stream.PauseConsumer(t.Context(), its, time.Now().Add(pushdtest.Timeout)); err != nil {
		t.Fatal(err)
	}
	last := must(t, one.Server, raw, "1", "secret")
	p := resume(t, two.Server, "last_event_id="+url.QueryEscape(last), "", reader)
	if p.field != last {
		t.Errorf("Mercure-Last-Event-ID %q, want %q", p.field, last)
	}
	must(t, one.Server, raw, "2", "secret")
	if status, answer := two.Do("GET", history+url.QueryEscape(strings.TrimPrefix(last, "#")), nil); status != 410 || answer["reason"] != "future" {
		t.Errorf("%d %v: it has read that", status, answer) // the stream was told the same before
	}
	if _, err := stream.ResumeConsumer(t.Context(), its); err != nil {
		t.Fatal(err)
	}
	if got := p.texts(t, 1); !slices.Equal(got, []string{"2"}) {
		t.Errorf("it got %q, want what it had not", got)
	}
}
