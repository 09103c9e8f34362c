package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker/handover"
	"github.com/pushd/pushd/worker/reactor"
)

// Driven is a worker that no process runs: whoever has its Process.Memory drives
// it, turn by turn, on the goroutine that Drive was called on. It is what package
// workertest stands on; programs have Serve.
type Driven struct {
	s      *serving
	memory *reactor.Memory[*Conn]
}

// Drive does what Serve does up to accepting, and returns.
func (w *Worker) Drive(p Process) (*Driven, error) {
	if p.Memory == nil {
		return nil, errors.New("Drive needs a Memory")
	}
	s := &serving{init: p.Init}
	if step, err := s.prepare(w, p); err != nil {
		return nil, fmt.Errorf("%s: %w", step, err)
	}
	return &Driven{s, p.Memory}, nil
}

// MoveTo hands the connections over as a reload does, record by record, to a
// worker that is driven by the same goroutine. Those that cannot move stay.
func (d *Driven) MoveTo(next *Driven) error {
	x, m := newExport(d.s.l, nil), &imports{l: next.s.l}
	err := d.prepare(x)
	if err != nil {
		return err
	}
	_ = x.l.do(func() { err = x.begin() })
	_ = m.l.do(m.l.importBegins)
	for err == nil {
		p := handover.Parcel{}
		_ = x.l.do(func() { x.freeze(handover.BatchConns) }, func() { p.Body, p.Files, err = x.pack() })
		if err != nil || len(p.Files) == 0 {
			break
		}
		var s *shipment
		if s, err = m.read(p); err == nil {
			err = x.release()
			m.landed = make(chan struct{})
			_ = m.l.do(func() { m.admit(s) })
		}
	}
	_ = m.l.do(func() { m.l.importEnds(x.carry) })
	return err
}

// prepare lets the handlers get ready, which may take goroutines of the program.
func (d *Driven) prepare(x *export) error {
	ready, err := x.askAll()
	late := time.NewTimer(exportPatience)
	defer late.Stop()
	for err == nil {
		d.memory.Run()
		select {
		case <-ready:
			return nil
		case <-d.memory.Rung():
		case <-late.C:
			err = errors.New("a handler does not let go of its connections")
		}
	}
	return err
}

// SendAway begins to close the connections, as a stop does.
func (d *Driven) SendAway(code int, reason string) {
	d.s.turnAway(code)
	_ = d.s.l.do(func() { d.s.l.disperse(code, reason, 0) })
}

// End takes the worker down with what is still connected.
func (d *Driven) End() error { return d.s.shutdown(false) }
