package worker

import (
	"encoding/json"

	"github.com/pushd/pushd/protocol/control"
)

// renew lets the handlers that are programs beside the worker replace them: a
// reload when nothing else has changed. It runs on the loop; answer is called
// once, there.
func (l *loop) renew(answer func(list []control.Renewed, err error)) {
	var list []control.Renewed
	var failed error
	open := 1
	one := func(r *control.Renewed, err error) {
		if r != nil && err == nil {
			list = append(list, *r)
		}
		if failed == nil {
			failed = err
		}
		if open--; open == 0 {
			answer(list, failed)
		}
	}
	_ = l.each(func(r *route) error {
		if r.renew != nil {
			open++
			r.renew(func(r control.Renewed, err error) { one(&r, err) })
		}
		return nil
	})
	one(nil, nil)
}

// renewScripts answers the master's order to renew.
func (s *serving) renewScripts(id uint64) {
	s.l.post(func() {
		s.l.renew(func(list []control.Renewed, err error) {
			m := control.Message{Type: control.TypeAnswer, ID: id}
			if m.Body, _ = json.Marshal(list); err != nil { // plain values only
				m.Error = err.Error()
			}
			go s.send(m)
		})
	})
}

// settled answers with numbers of clients once the programs are done with what they have taken
// over. An import that has told its numbers may not have ended yet: they wait for that too.
func (s *serving) settled(id uint64) {
	s.l.post(func() {
		open := 1
		one := func() {
			if open--; open > 0 {
				return
			}
			m := control.Message{Type: control.TypeAnswer, ID: id}
			m.Body, _ = json.Marshal(s.l.snapshotOfClients()) // plain values only
			go s.send(m)
		}
		_ = s.l.each(func(r *route) error {
			if r.settle != nil {
				open++
				r.settle(one)
			}
			return nil
		})
		one()
	})
}
