package worker

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/connid"
	"github.com/pushd/pushd/worker/record"
)

func TestSessionValuesAreBounded(t *testing.T) {
	c := &Conn{}
	must(t, c.Set("a", "1"))
	if err := c.Set("b", strings.Repeat("x", maxSession)); !errors.Is(err, ErrSessionFull) {
		t.Fatal(err)
	}
	must(t, c.Set("b", strings.Repeat("x", maxSession-10)))
	must(t, c.Set("b", ""))
	must(t, c.Set("b", strings.Repeat("x", maxSession-3)))
	must(t, c.Set("b", strings.Repeat("y", maxSession-3)))
	if err := c.Set("a", "12"); !errors.Is(err, ErrSessionFull) {
		t.Fatal(err)
	}
	if size := c.more.texts.Size(record.Value); c.Get("a") != "1" || size != maxSession {
		t.Fatalf("size %d", size)
	}
	if err := c.Set("a\x00b", "1"); !errors.Is(err, ErrSessionKey) {
		t.Fatalf("a key that would not survive a reload: %v", err)
	}
}

// TestNothingIsLeftOfAValue: what a connection has had for a while takes no
// memory afterwards.
func TestNothingIsLeftOfAValue(t *testing.T) {
	c := &Conn{}
	must(t, c.Set("a", ""))
	if c.more != nil {
		t.Error("deleting what is not there has taken memory")
	}
	must(t, c.Set("a", "1"))
	must(t, c.Set("b", "2"))
	must(t, c.Set("a", ""))
	if c.more == nil || c.Get("b") != "2" {
		t.Fatalf("b is %q", c.Get("b"))
	}
	c.more.dropped = 1
	must(t, c.Set("b", ""))
	if c.more == nil {
		t.Fatal("the count of dropped messages went with the last value")
	}
	c.more.dropped = 0
	must(t, c.Set("b", "2"))
	must(t, c.Set("b", ""))
	if c.more != nil {
		t.Errorf("%+v is left", *c.more)
	}
}

// TestTextsTravel: a record has the same fields whoever writes it, a worker that
// keeps values in a map or this one, and any order of them is read.
func TestTextsTravel(t *testing.T) {
	values := map[string]string{"room": "chat:red", "empty key": "✓", "": "no name", "nul": "a\x00b"}
	l := &loop{plain: &route{exact: "/other"}}
	c := &Conn{loop: l, seat: l.plain.at(&port{addr: listenAddr{text: anyWS}}, transportWebSocket), id: new(connid.Source).New()}
	for k, v := range values {
		must(t, c.Set(k, v))
	}
	c.remember(record.Query, "", "x=1")
	c.remember(record.IP, "", "203.0.113.7")
	c.remember(record.Path, "", "/a/b")
	c.remember(record.Header, "User-Agent", "test")
	c.remember(record.Subprotocol, "", "v1")

	// As it was written when values were a map.
	want := record.Append(nil, record.ID, c.id[:])
	want = record.AppendText(want, record.Port, c.port.addr.text)
	want = record.AppendNumber(want, record.Stage, 1)
	want = record.AppendText(want, record.Path, "/a/b")
	want = record.AppendText(want, record.Query, "x=1")
	want = record.AppendText(want, record.Subprotocol, "v1")
	want = record.AppendText(want, record.IP, "203.0.113.7")
	want = record.AppendText(want, record.Header, "User-Agent\x00test")
	for k, v := range values {
		want = record.AppendText(want, record.Value, k+"\x00"+v)
	}
	written := c.appendRecord(nil)
	for _, tag := range []byte{record.Path, record.Query, record.Subprotocol, record.IP, record.Header, record.Value} {
		if got, old := fieldsOf(written, tag), fieldsOf(want, tag); !maps.Equal(got, old) {
			t.Errorf("field %d: wrote %v, before it was %v", tag, got, old)
		}
	}
	for name, b := range map[string][]byte{"old": want, "new": written} {
		a, err := parseRecord(l, b)
		must(t, err)
		for k, v := range values {
			if a.c.Get(k) != v {
				t.Errorf("%s record: %q is %q, want %q", name, k, a.c.Get(k), v)
			}
		}
		got := fmt.Sprint(a.path, a.c.RawQuery(), a.c.Subprotocol(), a.c.Header("user-agent"), a.c.RemoteIP())
		if got != "/a/bx=1v1test203.0.113.7" {
			t.Errorf("%s record: %s", name, got)
		}
	}
	for _, bad := range [][]byte{record.AppendText(nil, record.Value, "no NUL"), record.AppendText(nil, record.Value, "k\x00"+strings.Repeat("v", maxSession))} {
		if _, err := parseRecord(l, append(bytes.Clone(written), bad...)); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
}

// fieldsOf counts the fields of one tag by what they say.
func fieldsOf(written []byte, tag byte) map[string]int {
	found := map[string]int{}
	for t := record.Texts(written); t != ""; {
		is, body, n := t.First()
		if is == tag {
			found[body]++
		}
		t = t[n:]
	}
	return found
}

// TestOneValueIsCheap is the budget of a session value, counted: the part of a
// connection that few have, and the text.
func TestOneValueIsCheap(t *testing.T) {
	const budget, n = 100, 10_000
	conns := make([]Conn, n)
	before := liveHeap()
	for i := range conns {
		must(t, conns[i].Set("user", "4711"))
	}
	per := (liveHeap() - before) / n
	t.Logf("%d B for one session value, budget %d", per, budget)
	if per > budget {
		t.Errorf("%d B for one session value, budget %d", per, budget)
	}
	if conns[n-1].Get("user") != "4711" {
		t.Error("it is not there")
	}
	if allocs := testing.AllocsPerRun(100, func() { _ = conns[0].Get("user") }); allocs != 0 {
		t.Errorf("Get: %v allocations", allocs)
	}
}

// TestNothingIsLeftOfATimer: a connection forgets a timer that has run or was
// stopped, however many there were.
func TestNothingIsLeftOfATimer(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := launch(t, w, &testBus{}, nil)
	connect(t, s.addrs[0], "/").text("hello")
	ran := false
	s.on(func() {
		c := w.loop.conns.all[0]
		for range 3 {
			c.After(time.Hour, func() {}).Stop()
			c.Every(time.Hour, func() {}).Stop()
		}
		if c.more != nil {
			t.Errorf("%+v is left of timers that were stopped", *c.more)
		}
		c.After(0, func() { ran = c.more == nil })
	})
	s.eventually("the timer has run and is forgotten", func() bool { return ran })
}
