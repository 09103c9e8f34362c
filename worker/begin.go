package worker

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/pushd/pushd/worker/reactor"
)

// starts is how the handlers of a process begin their work. Some take a while, a
// program that is started say: the loop goes on meanwhile, so that the process
// answers what the others ask it over the bus.
type starts struct {
	open int        // handlers that are not ready yet
	over chan error // one value, when none is open or one has failed
}

// StillStarting tells the master that this process gets on with its start: the 8 s
// that it has for that begin anew. For an OnWorkerStarting that takes longer, once a
// second say, and with a bound of its own. Once the process is ready it has no effect.
// On the loop.
func (w *Worker) StillStarting() { w.loop.getsOn() }

// begin calls OnWorkerStart of every handler and waits until all are ready. m is
// what is driven in place of sockets, nil as a rule.
func (l *loop) begin(m *reactor.Memory[*Conn]) error {
	s := &starts{over: make(chan error, 1)}
	var err error
	if doErr := l.do(func() { err = s.call(l) }); doErr != nil || err != nil {
		return errors.Join(doErr, err)
	}
	var rung <-chan struct{}
	if m != nil {
		rung = m.Rung()
	}
	for {
		select {
		case err := <-s.over:
			return err
		case <-l.reactor.Over():
			return errors.Join(errors.New("the event loop has ended"), l.reactor.Err())
		case <-rung:
			m.Run()
		}
	}
}

// call runs on the loop, as does what it hands to the handlers.
func (s *starts) call(l *loop) error {
	s.open = 1 // this call
	err := l.each(func(r *route) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		if r.onStarting != nil {
			s.open++
			r.onStarting(l.w, s.ready())
		}
		if r.onWorkerStart == nil {
			return nil
		}
		return r.onWorkerStart(l.w)
	})
	if err == nil {
		l.begun = true
		s.ready()(nil)
	}
	return err
}

// ready makes what one handler calls when it is ready, or cannot be; once.
func (s *starts) ready() func(error) {
	called := false
	return func(err error) {
		if called {
			return
		}
		called = true
		if s.open--; s.open > 0 && err == nil {
			return
		}
		select {
		case s.over <- err:
		default: // another one has failed
		}
	}
}
