package master

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/pushd/pushd/protocol/control"
)

// readable refuses a program that cannot read the records of what is connected:
// one before that which runs, when clients use what came with the latter. It
// asks before any slot is touched; a worker looks again when it hands over.
func (r *reload) readable(ctx context.Context, version int) error {
	args, err := json.Marshal(control.Records{Version: max(version, 1)})
	if err != nil {
		return &ReloadError{Worker: masterName, Step: stepCheck, Err: err}
	}
	var procs []*process
	r.m.do(func() {
		for p := range r.m.live {
			if p.unit.role == control.RoleWorker && p.isReady.Load() {
				procs = append(procs, p)
			}
		}
	})
	ctx, cancel := context.WithTimeout(ctx, r.m.t.query)
	defer cancel()
	answers := make([]control.Records, len(procs))
	var asked sync.WaitGroup
	for i, p := range procs {
		asked.Go(func() { // no answer: one that does not know the question, or is busy
			if raw, err := p.ask(ctx, control.TypeQuery, control.Query{What: control.QueryRecords, Args: args}); err == nil {
				_ = json.Unmarshal(raw, &answers[i])
			}
		})
	}
	asked.Wait()
	var sum control.Records
	for _, a := range answers {
		sum.Unreadable += a.Unreadable
		sum.Connections += a.Connections
	}
	if sum.Unreadable == 0 {
		return nil
	}
	return &ReloadError{Worker: masterName, Step: stepCheck, Err: fmt.Errorf(
		"the new program reads connection records up to version %d, and %d of %d connections need a later one: use restart, or reload when they have left",
		max(version, 1), sum.Unreadable, sum.Connections)}
}
