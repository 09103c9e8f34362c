package master

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Before the master executes a new version of itself, all its goroutines stand
// still at places where they hold nothing: what has been read is worked on,
// what was to be written is written. If the execution fails they go on.

// standBound is how long all of them may take to get there.
const standBound = 5 * time.Second

// errRestless says that something changed while the master came to a stand.
var errRestless = errors.New("processes come and go")

// longAgo as a deadline ends a read that waits, and keeps the next from beginning.
var longAgo = time.Unix(1, 0)

// stand is one goroutine's part in it.
type stand struct {
	here chan struct{} // closed by the goroutine when it stands
	over chan struct{} // closed by the master: go on
}

func newStand() *stand { return &stand{make(chan struct{}), make(chan struct{})} }

// wait is called by the goroutine.
func (s *stand) wait() {
	close(s.here)
	<-s.over
}

// isHere says whether the goroutine stands.
func (s *stand) isHere() bool {
	if s == nil {
		return false
	}
	select {
	case <-s.here:
		return true
	default:
		return false
	}
}

// standstill is what stands of a process: the goroutine that reads its messages
// and the one that writes to it.
type standstill struct {
	reader, writer *stand
}

// halt makes the reader stand.
func (p *process) halt(late <-chan time.Time) error {
	s := &standstill{reader: newStand(), writer: newStand()}
	p.still.Store(s)
	_ = p.ctl.SetReadDeadline(longAgo) // a closed channel needs none
	select {
	case <-s.reader.here:
		return nil
	case <-p.readEnd:
		return fmt.Errorf("%s: %w", p, errRestless)
	case <-late:
		return fmt.Errorf("%s is not done reading after %s", p, standBound)
	}
}

// flush makes the writer stand once it has sent all that is queued.
func (p *process) flush(late <-chan time.Time) error {
	s := p.still.Load().writer
	select {
	case p.out <- outgoing{stand: s}:
	default:
		return fmt.Errorf("%s %w", p, errBusy)
	}
	select {
	case <-s.here:
		return nil
	case <-p.gone:
		return fmt.Errorf("%s: %w", p, errRestless)
	case <-late:
		return fmt.Errorf("%s %w", p, errBusy)
	}
}

// stands says whether both goroutines stand.
func (p *process) stands() bool {
	s := p.still.Load()
	return s != nil && s.reader.isHere() && s.writer.isHere()
}

// unheard says whether a respawn has said how its start went and the loop does
// not know of it yet: the record would leave that out. It runs on the loop.
func (p *process) unheard() bool {
	return p.slot.booting == p && (len(p.verdict) > 0 || p.isReady.Load() && p.readySince.IsZero())
}

// proceed ends the standstill, whether it was complete or not.
func (p *process) proceed() {
	s := p.still.Swap(nil)
	if s == nil {
		return
	}
	_ = p.ctl.SetReadDeadline(time.Time{})
	close(s.reader.over)
	close(s.writer.over)
}

// paused is called by the reader when its deadline is over. It returns once the
// standstill is.
func (p *process) paused(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if s := p.still.Load(); s != nil {
		s.reader.wait()
	}
	return true
}

// standStill makes everyone stand who serves commands.
func (s *server) standStill(late <-chan time.Time) error {
	s.mu.Lock()
	s.still = newStand()
	stands := []*stand{s.still}
	for t := range s.clients {
		t.still = newStand()
		stands = append(stands, t.still)
		select {
		case t.halt <- struct{}{}:
		default: // a value of the last time is as good
		}
		_ = t.SetReadDeadline(longAgo)
	}
	_ = s.ln.SetDeadline(longAgo)
	s.mu.Unlock()
	for _, st := range stands {
		select {
		case <-st.here:
		case <-late:
			return fmt.Errorf("a command is not done after %s", standBound)
		}
	}
	return nil
}

// allStand says whether every client stands, those included that came while
// the others were coming to a stand.
func (s *server) allStand() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.clients {
		if !t.still.isHere() {
			return false
		}
	}
	return s.still.isHere()
}

// proceed ends the standstill.
func (s *server) proceed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.still == nil {
		return
	}
	_ = s.ln.SetDeadline(time.Time{})
	close(s.still.over)
	s.still = nil
	for t := range s.clients {
		if t.still != nil {
			close(t.still.over)
			t.still = nil
		}
	}
}

// setDeadline bounds the next read of t.
func (s *server) setDeadline(t *talk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.still == nil {
		_ = t.SetReadDeadline(time.Now().Add(requestBound))
	} else {
		_ = t.SetReadDeadline(longAgo)
	}
}

// standing says whether t is to stand still.
func (s *server) standing(t *talk) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.still != nil
}

// stand is called by the goroutine of t.
func (s *server) stand(t *talk) {
	s.mu.Lock()
	still := t.still
	s.mu.Unlock()
	if still != nil {
		still.wait()
	}
}

// accepterStands is called by the goroutine that accepts.
func (s *server) accepterStands() {
	s.mu.Lock()
	still := s.still
	s.mu.Unlock()
	if still != nil {
		still.wait()
	}
}
