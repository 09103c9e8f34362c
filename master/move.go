package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// moveBound is how long a slot's hand-over may take in all: some of it is spent
// on connections whose answer is deferred, for up to a minute.
const moveBound = 3 * time.Minute

// stepReport is the step at which the old worker has given up everything.
const stepReport = "report"

// move hands the connections of old to next. After an error next is dead, old
// serves what it had not given up, and what was given up before is lost with
// next; the report says how many. That old dies is no error: what it had not
// handed over is lost as in any crash. It runs on the verbs' goroutine.
func (m *master) move(ctx context.Context, old, next *process) (control.Exported, error) {
	ctx, cancel := context.WithTimeout(ctx, moveBound)
	defer cancel()
	report, err := m.carry(ctx, old, next)
	if err == nil || old.isGone() {
		return report, nil
	}
	if m.verbs.Err() != nil { // a stop: both say goodbye to the clients that they have
		return report, err
	}
	if report.Step == stepReport && !next.waitGone(ctx, m.t.query) {
		next.log.Warn("all clients have moved, but not the numbers of it", "error", err)
		return report, nil
	}
	next.log.Error("clients stay with the old process", "step", report.Step, "error", err, "lost", report.Moved)
	next.destroy()
	m.do(func() {}) // its end is noted before the old one is counted alone
	m.resume(old)
	return report, lostWith(&bootError{step: report.Step, err: err}, report.Moved)
}

// resume lets a process go on serving that has given up clients to one that is
// dead. It runs on the verbs' goroutine.
func (m *master) resume(old *process) {
	if old == nil || old.unit.role != control.RoleWorker {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.t.query)
	defer cancel()
	if _, err := old.ask(ctx, control.TypeResume, nil); err != nil && !old.isGone() {
		old.log.Error("the old process has not confirmed that it goes on", "error", err)
	}
}

// lostWith says how many connections went down with a new process.
func lostWith(err error, moved int) error {
	var b *bootError
	if moved == 0 || !errors.As(err, &b) {
		return err
	}
	return &bootError{b.step, fmt.Errorf("%w (%d connections had been moved and are lost with it)", b.err, moved), moved}
}

// heirOf returns the process that gets the connections of a slot that is no
// longer wanted: one of its group, a different one for each slot where there
// are enough. It runs on the loop.
func (m *master) heirOf(s *slot) *process {
	var heirs []*process
	for _, o := range m.slots {
		if o != s && !o.removed && o.proc != nil && o.unit.name == s.unit.name && o.unit.role == control.RoleWorker {
			heirs = append(heirs, o.proc)
		}
	}
	if len(heirs) == 0 {
		return nil
	}
	return heirs[s.index%len(heirs)]
}

// bequeath hands the connections of old to a process that serves already. What
// that one cannot take is closed with old; it is not worth the heir's life.
func (m *master) bequeath(ctx context.Context, old, heir *process) control.Exported {
	ctx, cancel := context.WithTimeout(ctx, moveBound)
	defer cancel()
	report, err := m.carry(ctx, old, heir)
	if err != nil {
		old.log.Error("clients of a removed slot could not all move; the rest is asked to come back",
			"heir", heir.String(), "moved", report.Moved, "step", report.Step, "error", err)
		_, _ = old.ask(ctx, control.TypeResume, nil) // so that it can say goodbye to them
	}
	return report
}

// carry connects the two and waits for old's report.
func (m *master) carry(ctx context.Context, old, next *process) (control.Exported, error) {
	from, to, err := socketpair()
	if err != nil {
		return control.Exported{Step: "connect the workers"}, err
	}
	defer from.Close()
	defer to.Close()
	// A worker that the watchdog lets run on to write its stacks must not accept
	// another batch.
	end := func() { sever(from) }
	next.onAbort.Store(&end)
	defer next.onAbort.Store(nil)
	short, cancel := context.WithTimeout(ctx, m.t.boot)
	defer cancel()
	if _, err := next.ask(short, control.TypeImport, nil, to); err != nil {
		return control.Exported{Step: "import"}, err
	}
	to.Close() // the workers must see each other's end
	question, err := old.begin(control.TypeExport, control.Export{To: next.id()}, from)
	if err != nil {
		return control.Exported{Step: "export"}, err
	}
	raw, err := question.await(ctx)
	report := control.Exported{Step: "export"}
	if err == nil {
		report.Step = ""
		err = json.Unmarshal(raw, &report)
	}
	if err == nil && report.Error != "" {
		err = errors.New(report.Error)
	}
	return report, err
}

// disinherit lets next go on that was told of connections to come: who had them
// has died meanwhile. It gets a hand-over that ends before it has begun.
func (m *master) disinherit(ctx context.Context, next *process) {
	from, to, err := socketpair()
	if err == nil {
		from.Close()
		defer to.Close()
		_, err = next.ask(ctx, control.TypeImport, nil, to)
	}
	if err != nil && !next.isGone() {
		next.log.Error("the process still waits for connections of one that has died", "error", err)
	}
}

// pauses adds up the histograms of the slots.
type pauses struct {
	counts []int64
	maxUS  int64
}

func (p *pauses) add(e control.Exported) {
	for len(p.counts) < len(e.Pauses) {
		p.counts = append(p.counts, 0)
	}
	for i, n := range e.Pauses {
		p.counts[i] += n
	}
	p.maxUS = max(p.maxUS, e.MaxUS)
}

// report returns the percentiles in ms, each at most an eighth too high.
func (p *pauses) report() Pause {
	return Pause{P50: p.quantile(50), P99: p.quantile(99), Max: float64(p.maxUS) / 1000}
}

func (p *pauses) quantile(percent int64) float64 {
	total := int64(0)
	for _, n := range p.counts {
		total += n
	}
	seen := int64(0)
	for i, n := range p.counts {
		if seen += n; n > 0 && seen*100 >= total*percent {
			return float64(min(control.PauseLimit(i), p.maxUS)) / 1000
		}
	}
	return 0
}
