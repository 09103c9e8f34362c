package pusher

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestRecoverWire is what goes over the wire, frame by frame: a client that
// comes back is told no position before it has what it missed, and behind that
// whether it was all.
func TestRecoverWire(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config + `
[worker.limits]
max_message = "4MiB"
[[channel]]
match = "*"
app = "main"
history = 10
[[channel]]
match = "*"
app = "plain"
history = 10
`})
	place := regexp.MustCompile(`,"epoch":"([0-9a-z]{6})","offset":(\d+)}$`)
	wants := func(p *pusher, begin string, told bool) (at string) {
		t.Helper()
		_, raw := p.Read()
		m := place.FindStringSubmatch(string(raw))
		if !strings.HasPrefix(string(raw), begin) || told != (m != nil) {
			t.Fatalf("got %s, want %s… with a position: %v", raw, begin, told)
		}
		if m != nil {
			at = m[1] + ":" + m[2]
		}
		return at
	}
	subscribe := func(p *pusher, after string) {
		t.Helper()
		data := map[string]any{"channel": "news"}
		if after != "" {
			data["recover"] = after
		}
		p.send("pusher:subscribe", "", data)
	}
	const succeeded = `{"event":"pusher_internal:subscription_succeeded","channel":"news","data":"{}"`
	const event, recovered = `{"event":"e","channel":"news","data":"`, `{"event":"pushd:recovered","channel":"news","data":"{\"recovered\":`
	b := newBackend(t, s)
	ann, old := join(t, s, mainPath+"&recover=1"), join(t, s, mainPath)
	subscribe(ann, "")
	at := wants(ann, succeeded, true)
	subscribe(old, at) // it does not say recover=1: the member means nothing
	wants(old, succeeded+"}", false)
	for _, data := range []string{"1", "2"} {
		b.trigger("e", data, "news")
		wants(ann, event+data, true)
		wants(old, event+data+`"}`, false)
	}
	bob := join(t, s, mainPath+"&recover=1")
	subscribe(bob, at)
	wants(bob, succeeded+"}", false)
	wants(bob, event+"1", true)
	last := wants(bob, event+"2", true)
	if end := wants(bob, recovered+`true,\"count\":2}"`, true); end != last {
		t.Errorf("it ends at %s, not %s", end, last)
	}
	for _, bad := range []string{"aaaaaa:1", "x", strings.Repeat("a", 1<<20) + ":1", last[:7] + strings.Repeat("1", 1<<20), "k3x9ab:18446744073709551616", placeOf(t, s)} {
		c := join(t, s, mainPath+"&recover=1")
		subscribe(c, bad)
		wants(c, succeeded+"}", false)
		if end := wants(c, recovered+`false,\"reason\":\"epoch\"}"`, true); end != last {
			t.Errorf("%.20s ends at %s, not %s", bad, end, last)
		}
	}
	ahead := join(t, s, mainPath+"&recover=1")
	subscribe(ahead, last[:7]+"9223372036854775808")
	wants(ahead, succeeded+"}", false)
	wants(ahead, recovered+`false,\"reason\":\"future\"}"`, true)

	// A position that a message of another channel has is a place in this one too.
	b.trigger("e", "3", "private-other")
	b.trigger("e", "4", "news")
	dan := join(t, s, mainPath+"&recover=1")
	n, _ := strconv.Atoi(last[7:])
	subscribe(dan, fmt.Sprint(last[:7], n+1))
	wants(dan, succeeded+"}", false)
	wants(dan, event+"4", true)
	wants(dan, recovered+`true,\"count\":1}"`, true)
	// What was said in a channel is for those alone who get into it.
	dan.send("pusher:subscribe", "", map[string]any{"channel": "private-other", "recover": last})
	if g := dan.want("pusher:subscription_error", "private-other", "*"); strings.Contains(g.text(), "offset") {
		t.Errorf("%s", g.text())
	}
	b.trigger("e", "5", "private-other")
	b.trigger("e", "6", "news")
	wants(dan, event+"6", true)
}

// placeOf returns a position of another app.
func placeOf(t *testing.T, s *pushdtest.Server) string {
	t.Helper()
	p := join(t, s, "/app/plain-key?protocol=7&recover=1")
	p.send("pusher:subscribe", "", map[string]any{"channel": "news"})
	_, raw := p.Read()
	var g struct {
		Epoch  string
		Offset int
	}
	if err := json.Unmarshal(raw, &g); err != nil || g.Epoch == "" {
		t.Fatalf("%s %v", raw, err)
	}
	return fmt.Sprint(g.Epoch, ":", g.Offset)
}
