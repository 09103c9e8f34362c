package worker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/reactor"
)

// slowly is an engine without sockets whose clock the test moves in the middle of
// a turn, as work does.
type slowly struct {
	*reactor.Memory[*Conn]
	worked time.Duration
}

func (s *slowly) Now() time.Duration { return s.Memory.Now() + s.worked }

// atWork drives a worker whose every message takes so long, and notes whose each
// was, by the port of the client.
func atWork(t *testing.T, each time.Duration) (s *slowly, l *loop, of *[]int) {
	t.Helper()
	s, of = &slowly{Memory: reactor.NewMemory[*Conn](time.Hour, time.Now())}, new([]int)
	w := New("text://127.0.0.1:1")
	w.OnMessage = func(c *Conn, _ Message) {
		s.worked += each
		*of = append(*of, int(c.peer().Port()))
	}
	d, err := w.Drive(Process{
		Init:   control.Init{Name: "w", Generation: 1, Listeners: []control.Listener{{Address: w.Listen()[0], FD: -1}}},
		Broker: (&testBus{}).client(), Memory: s.Memory,
	})
	must(t, err)
	t.Cleanup(func() { must(t, d.End()) })
	d.s.l.reactor = s
	return s, d.s.l, of
}

func (s *slowly) client(t *testing.T, port int) *reactor.Socket[*Conn] {
	t.Helper()
	c := s.Accept(0, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(port)))
	if c == nil {
		t.Fatal("refused")
	}
	return c
}

// TestWhoWaitsSharesTheTurn: the more connections have something left, the shorter
// their turns are, so that each comes up again soon.
func TestWhoWaitsSharesTheTurn(t *testing.T) {
	const each = 100 * time.Microsecond
	for n, want := range map[int]int{2: int(turnTime / each), 20: int(stepTime / 20 / each), 1000: 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s, l, of := atWork(t, each)
			sockets := make([]*reactor.Socket[*Conn], n)
			for i := range sockets {
				sockets[i] = s.client(t, 1+i)
			}
			s.Run()
			must(t, l.do(func() { // they are put off before they have had anything
				l.rest.spent = 2 * batchTime
				for _, c := range sockets {
					c.Send([]byte(strings.Repeat("x\n", 3*int(turnTime/each))))
				}
			}))
			if len(*of) > 0 || len(l.rest.queue) != n {
				t.Fatalf("%d messages are done, %d connections wait", len(*of), len(l.rest.queue))
			}
			l.rest.step(l)
			for i, from := range *of {
				if from != (*of)[0] {
					if i != want {
						t.Errorf("%d messages in one turn of %d, want %d", i, n, want)
					}
					return
				}
			}
			t.Errorf("one connection had all of %d messages", len(*of))
		})
	}
}

// TestSocketsLetTheDoorIn: when sockets have had their time, the door gets its
// turn without being asked, so that whoever comes next is not put off.
func TestSocketsLetTheDoorIn(t *testing.T) {
	const each = time.Millisecond
	s, l, of := atWork(t, each)
	c := s.client(t, 1)
	for s.Run() {
	}
	for range batchTime/each + 1 {
		c.Send([]byte("x\n"))
	}
	if n := len(*of); n != int(batchTime/each)+1 || l.rest.spent <= batchTime {
		t.Fatalf("%d messages in %v", n, l.rest.spent)
	}
	if !s.Run() || l.rest.spent != 0 {
		t.Errorf("the door had no turn: %v are spent", l.rest.spent)
	}
}
