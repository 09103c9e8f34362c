package broker

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// TestStrangersOnTheBus: somebody says on every subject of two nodes what no node would,
// among it what a later version may say. All is ignored, signs of life are counted, and the
// nodes go on.
func TestStrangersOnTheBus(t *testing.T) {
	url := cluster(t)
	all := reachingNodes(t, url, 2)
	a, b := all[0].host, all[1].host
	api := a.o.Client
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	var mu sync.Mutex
	said := map[string][]byte{} // by subject, what was right
	sub, err := nc.Subscribe("pushd.>", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if said[m.Subject] == nil {
			said[m.Subject] = slices.Clone(m.Data)
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	whole := func() bool {
		o, err := api.PublishCollect(t.Context(), []worker.Publication{*message("room", "x")}, func(int, worker.Answer) {})
		return err == nil && o[0].Complete
	}
	if !whole() || api.Tell("diary", "n1/push/0/1", []byte("word")) != nil || a.services[0].tellPeers([]byte("peer")) != nil {
		t.Fatal("they are not whole before")
	}
	want := []string{api.subjects.nodes, api.subjects.shard[worker.Shard(worker.ScopeChannel, "room")], api.subjects.serviceOf("diary"), api.subjects.peersOf("diary")}
	testkit.Eventually(t, "one of each is heard", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return !slices.ContainsFunc(want, func(s string) bool { return said[s] == nil })
	})
	_ = sub.Unsubscribe()
	mu.Lock()
	defer mu.Unlock()
	for _, s := range []string{api.subjects.query, api.subjects.allOf("diary"), api.subjects.peerOf("n1", "diary"), api.subjects.replies + ".zz.0", api.subjects.replies + ".1.-1", api.subjects.replies + ".~.x", api.subjects.local[3]} {
		said[s] = []byte(`{"worker":"n1/push/0/1","what":7}`)
	}
	signs := 0
	for subject, right := range said {
		later := slices.Clone(right)
		later[0]++
		for _, data := range [][]byte{nil, {0}, []byte("null"), []byte("[]"), []byte(`{"node":7}`), []byte(strings.Repeat("\xff", 300)), right[:len(right)/2], right[:len(right)-1], later} {
			if subject == api.subjects.nodes {
				signs++
			}
			if err := nc.Publish(subject, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, h := range []*Host{a, b} {
		testkit.Eventually(t, "signs of strangers are counted", func() bool { return h.signs.refused() == uint64(signs) })
	}
	testkit.Eventually(t, "they are whole", whole)
	for _, n := range all {
		n.knows("n1/push/0/1", "n2/push/0/1")
		if panics := n.host.panics.Load(); panics != 0 {
			t.Errorf("%s: %d panics", n.name, panics)
		}
	}
}
