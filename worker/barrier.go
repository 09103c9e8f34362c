package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker/handover"
)

// A barrier is a question to the broker that nobody but this process hears of:
// has what was published here before reached you, and what had reached you
// before that arrived here? A hand-over asks both once, at its beginning, and
// the first for each batch: its clients must not overtake in the new process
// what they have published in the old one.

// kindSync is a publication that is never sent: it follows what the broker had
// into the loop, and tells that this has been delivered. Workers of the version
// before publish it for that.
const kindSync Kind = 's'

// barrierTurns is how often it is asked, once a second. A broker process that has
// died is back by then, and nothing is given away meanwhile.
const barrierTurns = 5

// barrier is one such question. It may be asked again: the broker may have died,
// and its successor can answer.
type barrier struct {
	l     *loop
	token string // of the mark; "" = what was published is all that is waited for
	note  func() // nil, or called where the mark is put, on the broker client's goroutine
	done  chan struct{}
	err   error // of the last asking
}

// barrier asks, with arrived both things. It runs on the loop if arrived, else
// on any goroutine.
func (l *loop) barrier(arrived bool) *barrier {
	if arrived {
		return l.barrierBehind(nil)
	}
	b := &barrier{l: l, done: make(chan struct{}, barrierTurns)}
	b.ask()
	return b
}

// barrierBehind is barrier, with a note of what is before the mark.
func (l *loop) barrierBehind(note func()) *barrier {
	b := &barrier{l: l, done: make(chan struct{}, barrierTurns), token: l.ids.New().String(), note: note}
	l.syncs[b.token] = b.passed
	b.ask()
	return b
}

func (b *barrier) ask() {
	reached := b.passed
	if b.token != "" {
		reached = func() {
			if b.note != nil {
				b.note()
			}
			b.l.arrive(b.token)
		}
	}
	b.err = b.l.broker.Barrier(b.token != "", reached)
}

// passed runs once for each asking at most, so that there is room.
func (b *barrier) passed() { b.done <- struct{}{} }

// wait must not run on the loop.
func (b *barrier) wait() error {
	for turn := 1; ; turn++ {
		select {
		case <-b.done:
			return nil
		case <-time.After(handover.Turn):
		}
		if turn == barrierTurns {
			break
		}
		b.ask()
	}
	if b.err == nil {
		b.err = errors.New("no answer")
	}
	return fmt.Errorf("wait for the broker: %w", b.err)
}

// arrive puts a mark behind all that has arrived. It runs on the broker client's
// goroutine.
func (l *loop) arrive(token string) {
	l.Deliver([]Publication{{Kind: kindSync, Scope: ScopeConn, Target: token}})
}

// synced runs on the loop when a mark is at the head of the stream.
func (l *loop) synced(token string) {
	if passed := l.syncs[token]; passed != nil {
		delete(l.syncs, token)
		passed()
	}
}

// everywhereWait is how long a hand-over waits for a process that may be cut off.
const everywhereWait = time.Second

// besides is everywhere, if the other process of a hand-over hangs on another server of
// the bus than this one: what reaches third processes by two servers does so in any order,
// and a broker that has it says nothing of that.
func (l *loop) besides(otherServer []byte) {
	if len(otherServer) > 0 && string(otherServer) != l.broker.Server() {
		l.everywhere()
	}
}

// everywhere returns when all that was published and answered here before has come to
// every process, where the bus has several servers. Who does not answer within a second is
// cut off: what comes to it later, comes too late. It must not run on the loop.
func (l *loop) everywhere() {
	if l.broker.Server() == "" {
		return
	}
	told := make(chan bool, 1)
	err := l.broker.Everywhere(everywhereWait, func(all bool) { told <- all })
	if err == nil && <-told {
		return
	}
	l.log.Warn("not all processes have answered during a hand-over: to those, messages of a client that moves may come out of order, and a count may be too low", "error", err)
}
