package worker

import (
	"errors"
	"time"

	"github.com/pushd/pushd/worker/handover"
)

// What a handler keeps of its connections beside them goes along in a hand-over:
//
//   - In the process that leaves, OnExport runs before the first connection
//     moves. They move when ready is called, on the loop, once; carry is what the
//     handler of the same route gets in the other process. Until then all goes on
//     as it was.
//   - In the process that stays, OnImport runs before the first one arrives, and
//     OnImported when the last one has, or the hand-over has failed; carry is nil
//     when nothing came. Where a group gets smaller that happens to a process
//     that has served for long.
//   - Should the other process fail, OnWorkerResume runs where OnExport did.

// exportPatience is how long all handlers together may take over ready.
const exportPatience = 2 * time.Minute

// prepare lets the handlers get ready. It runs on the export's goroutine.
func (x *export) prepare() error {
	ready, err := x.askAll()
	if err != nil {
		return err
	}
	select {
	case <-ready:
		return nil
	case <-x.l.reactor.Over():
		return ErrStopped
	case <-time.After(exportPatience):
		return errors.New("a handler does not let go of its connections")
	}
}

// askAll asks the handlers, and closes ready when the last of them is.
func (x *export) askAll() (ready chan struct{}, err error) {
	l := x.l
	ready = make(chan struct{})
	err = l.do(func() {
		open := 1
		one := func() {
			if open--; open == 0 {
				close(ready)
			}
		}
		_ = l.each(func(r *route) error {
			if r.onExport != nil {
				open++
				x.ask(r, one)
			}
			return nil
		})
		one()
	})
	return ready, err
}

// ask calls OnExport of one handler, and one when that is ready.
func (x *export) ask(r *route, one func()) {
	l := x.l
	defer l.contain("OnExport", nil)
	done := false
	r.onExport(l.w, func(carry []byte) {
		if done {
			return
		}
		done = true
		if len(carry) > 0 {
			x.carry = handover.AppendCarried(x.carry, r.pattern, carry)
		}
		one()
	})
}

// handCarry sends what the handlers leave, before the first batch.
func (x *export) handCarry() error {
	if len(x.carry) == 0 {
		return nil
	}
	if x.reads < carryVersion {
		x.l.log.Warn("what handlers carry is lost: the new process is of a version that does not know it")
		return nil
	}
	return x.k.Send(handover.Carry, x.carry, nil)
}

// carryVersion is the record version of a reader that knows such a message.
const carryVersion = 4

// importBegins and importEnds tell the handlers of the process that stays. They
// run on the loop.
func (l *loop) importBegins() {
	_ = l.each(func(r *route) error {
		if r.onImport != nil {
			defer l.contain("OnImport", nil)
			r.onImport(l.w)
		}
		return nil
	})
}

func (l *loop) importEnds(carry []byte) {
	_ = l.each(func(r *route) error {
		if r.onImported != nil {
			defer l.contain("OnImported", nil)
			r.onImported(l.w, handover.CarriedFor(carry, r.pattern))
		}
		return nil
	})
}
