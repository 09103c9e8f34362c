package cmd

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/order"
)

// TestNodesWithOtherApps: what all nodes must agree on shows in a hash, in whatever order
// it is written; what is a node's own affair does not. Who differs is named.
func TestNodesWithOtherApps(t *testing.T) {
	of := func(secret, store string, ids ...string) string {
		all := worker.ServiceOptions{worker.HistoryService: {worker.Options(`{"store":"` + store + `"}`)}}
		for _, id := range ids {
			raw, _ := json.Marshal(map[string]string{"id": id, "secret": secret})
			all["pusher"] = append(all["pusher"], raw)
		}
		return appsHash(all, "")
	}
	one := of("s", "disk", "1", "2")
	if other := of("s", "memory", "2", "1"); other != one || len(one) != 8 {
		t.Errorf("the same apps: %q and %q", one, other)
	}
	for what, other := range map[string]string{"secret": of("t", "disk", "1", "2"), "app more": of("s", "disk", "1", "2", "3"), "none": of("s", "disk")} {
		if other == one {
			t.Errorf("another %s does not show", what)
		}
	}
	if appsHash(nil, "room") == appsHash(nil, "") {
		t.Error("another channel with history does not show")
	}
	ten, hundred := 10, 100
	base := channel.Rule{Match: "a*", App: "1", History: &hundred}
	said := func(r channel.Rule) string { return hash(ofAll(order.Apps{"1": 0, "2": 0}, channel.Rules{r}.Text)) }
	for what, change := range map[string]func(*channel.Rule){
		"match": func(r *channel.Rule) { r.Match = "b*" }, "app": func(r *channel.Rule) { r.App = "2" }, "no app": func(r *channel.Rule) { r.App = "" },
		"exact": func(r *channel.Rule) { r.Exact = true }, "history": func(r *channel.Rule) { r.History = &ten }, "no history": func(r *channel.Rule) { r.History = nil },
		"age": func(r *channel.Rule) { r.Age = time.Minute }, "mode": func(r *channel.Rule) { r.Mode = channel.Latest }, "slow": func(r *channel.Rule) { r.Slow = channel.SlowClose },
	} {
		other := base
		change(&other)
		if said(other) == said(base) {
			t.Errorf("another %s of [[channel]] does not show", what)
		}
	}
	var out bytes.Buffer
	tellNodes(&out, &master.Status{Nodes: []control.Node{{Node: "a", Self: true}, {Node: "b", OtherApps: true}, {Node: "c"}, {Node: "d\x1b[2J", OtherApps: true}}}, screen{})
	if text := out.String(); !strings.Contains(text, "other [[app]] or [[channel]] than here: b d") || strings.Contains(text, "\x1b") {
		t.Errorf("%q", text)
	}
	out.Reset()
	tellStatus(&out, "pushd", &master.Status{NodesUnknown: "the broker process is starting"}, nil, screen{})
	if text := out.String(); !strings.Contains(text, "nodes: not known now: the broker process is starting") {
		t.Errorf("%q", text)
	}
}
