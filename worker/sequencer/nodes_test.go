package sequencer_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestHistoryOfTwoNodes: positions, keys, versions and purges hold on each of
// them, and while the store is away nothing is taken and nobody is closed.
func TestHistoryOfTwoNodes(t *testing.T) {
	list, bus := nodes(t, "jetstream")
	one, two := list[0], list[1]
	a := dial(t, one.Server)
	a.SendText("join room1")
	at := a.joined("room1", `0 ""`)
	say := func(n node, want int, more ...any) map[string]any {
		t.Helper()
		body := map[string]any{"channel": "room1", "data": "x"}
		for i := 0; i < len(more); i += 2 {
			body[more[i].(string)] = more[i+1]
		}
		status, answer := n.Post("/v1/publish", body)
		if status != want {
			t.Fatalf("%v: %d %v, want %d", body, status, answer, want)
		}
		return answer
	}
	first := say(two, 200, "data", "one", "idempotency_key", "k", "version", 5)
	if p := a.message("room1", "one"); p != first["position"] || first["reached"] != 1.0 || first["complete"] != true {
		t.Errorf("%v, delivered at %s", first, p)
	}
	if again := say(one, 200, "data", "one", "idempotency_key", "k", "version", 5); again["repeated"] != true || again["position"] != first["position"] {
		t.Errorf("the same key on the other node: %v", again)
	}
	if old := say(one, 200, "data", "old", "version", 4); old["outdated"] != true {
		t.Errorf("an old version on the other node: %v", old)
	}
	say(one, 200, "data", "two")
	a.message("room1", "two")
	if _, answer := one.Do("GET", "/v1/history?channel=room1", nil); len(answer["messages"].([]any)) != 2 {
		t.Errorf("kept: %v", answer)
	}
	b := dial(t, two.Server)
	b.SendText("join room1 " + at)
	b.joined("room1", `2 ""`)
	b.message("room1", "one")
	b.message("room1", "two")

	_, offset, _ := strings.Cut(first["position"].(string), ":")
	if status, answer := one.Do("DELETE", "/v1/history?channel=room1&offset="+url.QueryEscape(offset), nil); status != 200 || answer["purged"] != 1.0 {
		t.Errorf("purge: %d %v", status, answer)
	}
	pushdtest.Eventually(t, "the other node forgets it", func() bool {
		_, answer := two.Do("GET", "/v1/history?channel=room1", nil)
		messages, _ := answer["messages"].([]any)
		return len(messages) == 1
	})

	epoch, _, _ := strings.Cut(at, ":")
	if status, answer := one.Do("GET", "/v1/history?channel=room1&after="+epoch+":99999", nil); status != 410 || answer["reason"] != "future" {
		t.Errorf("a position that nobody has given: %d %v", status, answer)
	}

	bus.stop()
	pushdtest.Eventually(t, "it is refused", func() bool {
		status, _ := one.Post("/v1/publish", map[string]any{"channel": "room1", "data": "lost"})
		return status == 503
	})
	says := func() string {
		_, rest, _ := strings.Cut(one.MustRun("status"), "history: ")
		return rest
	}
	pushdtest.Eventually(t, "status says so", func() bool { return strings.Contains(says(), "away, ") })
	pushdtest.Eventually(t, "doctor says so", func() bool { // while the history waits for the bus it is "away, as the bus is"
		r := one.Run("doctor")
		return r.Code != 0 && strings.Contains(r.Stdout, "away, so nothing can be published")
	})
	bus.start()
	pushdtest.Eventually(t, "it is taken again", func() bool { return tryPublish(two.Server, "room1", "three") })
	pushdtest.Eventually(t, "status says no more", func() bool { return says() == "" })
	a.message("room1", "three")
	b.message("room1", "three")
}

// TestTwoConfigs: a change of which channels have a history comes to one node before the
// other, or is a mistake that stays. Each message reaches everybody, and nobody who comes
// back is told that he has missed nothing when one came without a position meanwhile.
func TestTwoConfigs(t *testing.T) {
	for name, without := range map[string]string{
		"no such channel": strings.Replace(config, `"room*"`, `"other*"`, 1),
		"no channel":      config[strings.Index(config, "[[worker]]"):],
	} {
		t.Run(name, func(t *testing.T) {
			list, _ := nodes(t, "jetstream")
			one, two := list[0], list[1]
			head, _, _ := strings.Cut(two.text, "[[channel]]")
			two.WriteConfig(head + without)
			two.MustRun("reload")
			a, b := dial(t, one.Server), dial(t, two.Server)
			a.SendText("join room1")
			a.joined("room1", `0 ""`)
			b.SendText("join room1")
			b.joined("room1", `0 "off"`)
			say := func(n node, text string) {
				t.Helper()
				status, answer := n.Post("/v1/publish", map[string]any{"channel": "room1", "data": text})
				if status != 200 || answer["reached"] != 2.0 || answer["complete"] != true {
					t.Errorf("%s: %d %v", text, status, answer)
				}
			}
			say(one, "from where it is kept")
			at := a.message("room1", "from where it is kept")
			before := at
			b.WantText("from where it is kept")

			c, back := dial(t, one.Server), func(to node, at, want string) *client {
				t.Helper()
				c := dial(t, to.Server)
				c.SendText("join room1 " + at)
				c.joined("room1", want)
				return c
			}
			c.Conn.Close()
			back(one, at, `0 ""`).Conn.Close()
			say(two, "without a position")
			a.WantText("without a position")
			b.WantText("without a position")
			back(one, at, `0 "age"`).Conn.Close()
			pushdtest.Eventually(t, "who comes behind it misses nothing", func() bool {
				say(one, "later")
				at = a.message("room1", "later")
				b.WantText("later")
				c := dial(t, one.Server)
				defer c.Conn.Close()
				c.SendText("join room1 " + at)
				_, raw := c.Read()
				return strings.HasSuffix(string(raw), ` 0 ""`)
			})

			one.MustRun("reload", "--all") // the next process knows it, too
			a.Conn.Close()
			two.WriteConfig(two.text)
			two.MustRun("reload")
			b.Conn.Close()
			back(one, before, `0 "age"`).Conn.Close()
			a = back(one, at, `0 ""`)
			b = back(two, at, `0 "age"`)
			say(one, "at last")
			at = a.message("room1", "at last")
			b.message("room1", "at last")
			back(two, at, `0 ""`)
		})
	}
}

// TestHistoryOffAndOn: what is published while channels have no history is in no log. Who
// was there before is told so when they have one again, also by the process after that.
func TestHistoryOffAndOn(t *testing.T) {
	list, _ := nodes(t, "jetstream")
	n := list[0]
	two := list[1]
	for _, other := range []node{two} {
		other.MustRun("stop")
	}
	say := func(text string) { n.Post("/v1/publish", map[string]any{"channel": "room1", "data": text}) }
	pushdtest.Eventually(t, "it takes messages", func() bool { return tryPublish(n.Server, "room1", "one") })
	a := dial(t, n.Server)
	a.SendText("join room1")
	at := a.joined("room1", `0 ""`)
	a.Close()
	const on, others = "history = 5000\nage = \"1h\"", "[[channel]]\nmatch = \"state*\"\nmode = \"latest\"\n"
	off := strings.Replace(n.text, on, "history = 0", 1)
	none := strings.Replace(off, others, "", 1) // then there is nothing to follow the log for
	for i, text := range []string{none, n.text, n.text} {
		n.WriteConfig(fmt.Sprintf("drain = \"%dms\"\n", 100+i) + text) // another process, the last time for that alone
		n.MustRun("reload")
		say("meanwhile")
	}
	pushdtest.Eventually(t, "it takes messages", func() bool { return tryPublish(n.Server, "room1", "last") })
	b := dial(t, n.Server)
	b.SendText("join room1 " + at)
	now := b.joined("room1", `0 "age"`)
	say("more")
	b.message("room1", "more")
	c := dial(t, n.Server)
	c.SendText("join room1 " + now)
	c.joined("room1", `1 ""`)
	c.message("room1", "more")

	for _, text := range []string{off, n.text} {
		n.WriteConfig(text)
		n.MustRun("reload")
		say("meanwhile")
	}
	pushdtest.Eventually(t, "it takes messages", func() bool { return tryPublish(n.Server, "room1", "last") })
	d := dial(t, n.Server)
	d.SendText("join room1 " + now)
	d.joined("room1", `0 "age"`)
}
