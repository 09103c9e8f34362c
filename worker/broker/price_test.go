package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// reaching is an inbox of a worker that says that it has reached one member.
type reaching struct {
	inbox
	id    string
	ready chan struct{}
	to    *Client
}

func (in *reaching) Deliver(batch []worker.Publication) {
	<-in.ready
	for i := range batch {
		if r := batch[i].Reply; r != "" {
			in.to.Answer(r, worker.Answer{Worker: in.id, Reached: 1})
		}
	}
}

// reachingNodes starts nodes with a worker each, and returns them when the first knows all.
func reachingNodes(t testing.TB, url string, n int) (all []*node) {
	t.Helper()
	var names []string
	for i := range n {
		one := newNode(t, url, fmt.Sprint("n", i+1))
		one.worker.Close()
		in := &reaching{id: one.name + "/push/0/1", ready: make(chan struct{})}
		in.to = one.client(in.id, in)
		close(in.ready)
		all, names = append(all, one), append(names, in.id)
	}
	all[0].knows(names...)
	return all
}

// traffic is what a bus has carried, by what it is for.
type traffic struct {
	mu  sync.Mutex
	all map[string]int
}

// tap hears all that is said below the prefix, but for signs of life and positions, which
// go by the clock.
func tap(t *testing.T, url string) *traffic {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	h := &traffic{all: map[string]int{}}
	if _, err := nc.Subscribe("pushd.>", func(m *nats.Msg) { h.hear(m) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *traffic) hear(m *nats.Msg) {
	what := m.Subject
	switch part := strings.Split(m.Subject, "."); {
	case m.Subject == "pushd.n":
		return
	case part[1] == "r":
		what = "answers"
	case len(part) == 4 && part[2] == "s":
		if p, err := parseEnvelope(m.Data); err == nil && p.Kind == kindPosition {
			return
		}
		what = "publications"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all[what]++
}

func (h *traffic) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.all)
}

// TestWhatAPublishSends counts what a publish that counts puts on the bus: itself, and an
// answer of each worker process of each node. Nothing else depends on how many there are.
func TestWhatAPublishSends(t *testing.T) {
	const times = 20
	for _, n := range []int{1, 3} {
		url := cluster(t)
		api := reachingNodes(t, url, n)[0].host.o.Client
		heard := tap(t, url)
		for range times {
			all, err := api.PublishCollect(t.Context(), []worker.Publication{*message("room", "x")}, func(int, worker.Answer) {})
			if err != nil || !all[0].Complete {
				t.Fatalf("%v, %v", all, err)
			}
		}
		want := fmt.Sprintf("map[answers:%d publications:%d]", times*n, times)
		testkit.Eventually(t, "it is heard: "+want, func() bool { return strings.Contains(heard.text(), fmt.Sprint("answers:", times*n)) })
		if got := heard.text(); got != want {
			t.Errorf("%d nodes: %s, want %s", n, got, want)
		}
	}
}

func BenchmarkPublishCollect(b *testing.B) {
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			url := cluster(b)
			api := reachingNodes(b, url, n)[0].host.o.Client
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					if _, err := api.PublishCollect(ctx, []worker.Publication{*message("room", "x")}, func(int, worker.Answer) {}); err != nil {
						b.Error(err)
					}
					cancel()
				}
			})
		})
	}
}
