package master

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// stepScript is the step at which a script has not got ready.
const stepScript = "script"

// renewScripts is all that is left to do when nothing but copies of certificates
// and keys differs: nobody knows whether the code of programs beside processes
// has changed too, so they are replaced, as in every reload.
func (r *reload) renewScripts(ctx context.Context) error {
	var slots []planned
	r.m.do(func() { slots, _ = r.m.arrange(r.next) })
	slots = slices.DeleteFunc(slots, func(s planned) bool { return !s.unit.scripts })
	r.total = len(slots)
	for _, s := range slots {
		if err := r.step(ctx, s.slot, s.unit); err != nil {
			return err
		}
	}
	return nil
}

// renew replaces only the programs beside a slot's process, when there are some
// and nothing else of the slot has changed. It reports false when the process
// itself is to be replaced. It runs on the verbs' goroutine.
func (r *reload) renew(ctx context.Context, s *slot, u *unit, begin time.Time) (done bool, err error) {
	var p *process
	r.m.do(func() {
		if !r.all && s.proc != nil && s.proc.isReady.Load() && u.scripts && s.unit.equal(u) {
			p = s.proc
		}
	})
	if p == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, moveBound)
	defer cancel()
	raw, err := p.ask(ctx, control.TypeRenew, nil)
	var list []control.Renewed
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil && p.isGone() {
		return false, nil // another one takes its place
	}
	if err != nil {
		return false, &ReloadError{Worker: u.name, Slot: s.index, Step: stepScript, Err: fmt.Errorf("%w", err)}
	}
	e := exchange{oldPID: p.pid, newPID: p.pid, scripts: list}
	for _, one := range list {
		e.drained += one.Closed
	}
	r.through(u, s, e, begin)
	return true, nil
}
