package worker

import (
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/reactor"
	"github.com/pushd/pushd/worker/survey"
)

// TestNamesOfStrangersBlindNobody: whatever clients are called, and JSON makes of
// it, every page fits a control message and each connection is on one.
func TestNamesOfStrangersBlindNobody(t *testing.T) {
	const clients = 130
	w := New("websocket://127.0.0.1:0")
	n := 0
	w.OnConnect = func(c *Conn) {
		n++
		for i := range n % 3 * 60 { // none, 60 and 120 channels
			c.Join(strings.Repeat([]string{"\x01", "<", "\u2028"}[i%3], 200) + string(rune('a'+i)))
		}
		c.Bind(strings.Repeat("&", []int{1, 200, survey.MaxEntry}[n%3]))
	}
	s := serve(t, w)
	for range clients {
		connect(t, s.addrs[0], "/"+strings.Repeat("<", 199))
	}
	s.eventually("all are connected", func() bool { return n == clients })
	seen := map[string]bool{}
	var page ConnPage
	for q := (ConnQuery{}); ; q.Cursor = page.Cursor {
		page = ConnPage{}
		s.query("connections", q, &page)
		for _, c := range page.Connections {
			if seen[c.ID] {
				t.Fatalf("%s comes twice", c.ID)
			}
			seen[c.ID] = true
		}
		if page.Cursor == "" {
			break
		}
	}
	if len(seen) != clients {
		t.Errorf("%d of %d are listed", len(seen), clients)
	}
	raw, err := control.Marshal(ConnInfo{Path: "<"})
	if err != nil || strings.Contains(string(raw), `\u003c`) {
		t.Errorf("%s %v", raw, err)
	}
}

// TestIdleWhateverTheClock: how long a client has been silent is told right when the
// wall clock was set.
func TestIdleWhateverTheClock(t *testing.T) {
	m := reactor.NewMemory[*Conn](time.Hour, time.Now())
	c := &Conn{loop: &loop{reactor: m, now: m.Now()}, lastRecv: seconds(m.Now()) - 10, since: uint32(m.Wall().Unix()) - 10}
	for _, leap := range []time.Duration{-time.Hour, time.Hour, 30 * 24 * time.Hour} {
		if m.Leap(leap); c.idle() != 10 {
			t.Errorf("after a leap of %v: silent for %d s of 10", leap, c.idle())
		}
		m.Leap(-leap)
	}
}
