package worker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/reactor"
)

// doorkeeper drives a worker with limits by address.
func doorkeeper(t *testing.T, perIP, rate int) (m *reactor.Memory[*Conn], l *loop, come func(ip string) *reactor.Socket[*Conn]) {
	t.Helper()
	m = reactor.NewMemory[*Conn](time.Hour, time.Now())
	w := New("text://127.0.0.1:1")
	w.Limits.PerIP, w.Limits.PerIPRate = perIP, rate
	d, err := w.Drive(Process{
		Init:   control.Init{Name: "w", Generation: 1, Listeners: []control.Listener{{Address: w.Listen()[0], FD: -1}}},
		Broker: (&testBus{}).client(), Memory: m,
	})
	must(t, err)
	t.Cleanup(func() { must(t, d.End()) })
	return m, d.s.l, func(ip string) *reactor.Socket[*Conn] {
		s := m.Accept(0, netip.AddrPortFrom(netip.MustParseAddr(ip), 1024))
		m.Run()
		return s
	}
}

// TestVisitorsHavePlaces: so many at a time for an address, /64 in IPv6, each until
// its end; who is refused takes none.
func TestVisitorsHavePlaces(t *testing.T) {
	m, l, come := doorkeeper(t, 2, 0)
	a, b := come("203.0.113.1"), come("203.0.113.1")
	if a == nil || b == nil || come("203.0.113.1") != nil || come("203.0.113.1") != nil {
		t.Fatal("two may be there at a time, no more and no fewer")
	}
	if come("203.0.113.2") == nil || come("::ffff:203.0.113.3") == nil || come("203.0.113.3") == nil || come("203.0.113.3") != nil {
		t.Error("another address has places of its own, however it is written")
	}
	a.HangUp()
	m.Run()
	if come("203.0.113.1") == nil || come("203.0.113.1") != nil {
		t.Error("one that leaves makes room for one")
	}
	if come("2001:db8:1:2::1") == nil || come("2001:db8:1:2:ffff::1") == nil || come("2001:db8:1:2::3") != nil || come("2001:db8:1:3::1") == nil {
		t.Error("in IPv6 a /64 is one visitor")
	}
	if c := l.conns.all[0]; !l.welcome(c) || l.visitorsOf("203.0.113.2") != 1 {
		t.Error("who is counted already is counted twice")
	}
}

// TestVisitorsComeSoOften: of an address in each second, refused ones too.
func TestVisitorsComeSoOften(t *testing.T) {
	m, _, come := doorkeeper(t, 0, 3)
	for range 3 { // seconds
		for i, want := range []bool{true, true, true, false, false} {
			s := come("203.0.113.1")
			if (s != nil) != want {
				t.Fatalf("number %d within a second: let in %v", i+1, s != nil)
			}
		}
		if come("203.0.113.2") == nil {
			t.Error("another one comes seldom")
		}
		m.Advance(time.Second)
	}
}

// TestVisitorsAreForgotten when they have neither a connection nor come lately.
func TestVisitorsAreForgotten(t *testing.T) {
	m, l, come := doorkeeper(t, 10, 10)
	a, b := come("203.0.113.1"), come("203.0.113.2")
	b.HangUp()
	m.Run()
	l.forgetVisitors()
	if len(l.accept.byIP) != 2 {
		t.Errorf("%d are known in the second in which they came", len(l.accept.byIP))
	}
	m.Advance(2 * time.Second)
	if len(l.accept.byIP) != 1 || l.visitorsOf("203.0.113.1") != 1 {
		t.Errorf("%d are known, of whom one is there", len(l.accept.byIP))
	}
	a.HangUp()
	m.Advance(2 * time.Second)
	if len(l.accept.byIP) != 0 {
		t.Errorf("%d are known of nobody", len(l.accept.byIP))
	}
}
