package broker

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
)

// maxAnswers bounds what one gathering keeps at a time: more processes than
// there may be on many nodes.
const maxAnswers = 64 << 10

// gathering waits for what all workers, or those of a group, answer to n
// questions. It is the one way to ask everybody: Gather, Collect and
// PublishCollect differ in what they send.
//
// Who must answer are those who were on the roster when it was first known, as
// long as they are on it: one who has joined may have missed the question, one
// who has left will not answer. Answers of others are taken all the same. In a
// hand-over those must answer too who have the connections now: whom an answer
// names, and who is in the place of one that has left without an answer.
type gathering struct {
	c       *Client
	replies *replies
	n       int
	who     Who
	roster  *roster
	told    bool                  // the roster comes with a Host's answer
	hosts   bool                  // the Host of each node has to answer too
	heardOf map[expected]struct{} // has answered
	marks   [][]string            // rosters that await their marks
	missing map[expected]struct{} // nil: the roster is not known
	heard   bool                  // somebody has answered
	joins   int64                 // of the link, when the question was put
	held    map[int]bool          // questions that no worker was asked, see numbered
	ordered map[int]bool          // questions that the history service has to answer too
}

// Who says whose answers are wanted; "" = of all.
type Who struct{ Node, Group string }

func (w Who) has(id control.Identity) bool {
	return (w.Group == "" || id.Group == w.Group) && (w.Node == "" || id.Node == w.Node)
}

// Outcome says whether all who live have answered in time, and if not, on which
// nodes some have not. On a bus of its own a node has no name.
type Outcome struct {
	Complete bool
	Missing  []string // names of nodes, in their order
}

// expected is one answer that is waited for.
type expected struct {
	question int
	worker   string
}

// gather opens a gathering. Close it.
func (c *Client) gather(n int, who Who) *gathering {
	g := &gathering{c: c, n: n, who: who, joins: c.joins(), roster: c.roster, heardOf: map[expected]struct{}{}}
	names, _ := c.roster.get()
	if g.told = names == nil; g.told {
		g.roster = newRoster()
	}
	g.replies = c.replies(max(maxAnswers, 2*n*len(names))) // twice: workers may join meanwhile
	return g
}

// joins counts the connections to the broker, where there is one.
func (c *Client) joins() int64 {
	if c.link == nil {
		return 0
	}
	return c.link.joins.Load()
}

func (g *gathering) close() { g.replies.close() }

// ask sends q as the only question.
func (g *gathering) ask(q worker.BusQuery) error {
	q.Reply, q.Roster = g.replies.subject(0), g.told || g.hosts
	return g.c.query(q)
}

// collect hands over the answers until all that are expected are there, ctx is
// over, or the client is closed.
func (g *gathering) collect(ctx context.Context, take func(question int, a worker.Answer)) {
	changed := g.await()
	for g.missing == nil || len(g.missing) > 0 || len(g.ordered) > 0 {
		select {
		case <-g.replies.C:
			for _, r := range g.replies.take() {
				g.answered(r, take)
			}
		case <-changed:
			changed = g.await()
		case <-ctx.Done():
			return
		case <-g.c.closed:
			return
		}
	}
}

// answered takes in an answer: a worker's, or a Host's that names the workers.
func (g *gathering) answered(r reply, take func(int, worker.Answer)) {
	g.heard = true
	var names []string
	if g.told && r.Worker == rosterOf(g.c.o.Node) && json.Unmarshal(r.Data, &names) == nil && names != nil {
		g.roster.set(names)
	}
	if r.question == g.n && r.Worker == "" && len(g.marks) > 0 {
		g.excuse(g.marks[0])
		g.marks = g.marks[1:]
		return
	}
	if r.Worker == worker.HistoryService && r.question >= 0 && r.question < g.n {
		g.numbered(r, take)
		return
	}
	if r.question < 0 || r.question >= g.n {
		return
	}
	e := expected{r.question, r.Worker}
	if id, ok := control.ParseIdentity(r.Worker); !ok || !g.who.has(id) {
		if g.hosts && isRoster(r.Worker) {
			g.has(e)
		}
		return // a Host, or nobody who was asked
	}
	take(r.question, r.Answer)
	g.has(e)
	if _, ok := control.ParseIdentity(r.Heir); ok {
		g.must(expected{r.question, r.Heir})
	}
}

// has notes an answer.
func (g *gathering) has(e expected) {
	g.heardOf[e] = struct{}{}
	delete(g.missing, e)
}

// must adds an answer that is waited for, unless it has come.
func (g *gathering) must(e expected) {
	id, _ := control.ParseIdentity(e.worker)
	if _, has := g.heardOf[e]; !has && !g.held[e.question] && g.missing != nil && g.who.has(id) {
		g.missing[e] = struct{}{}
	}
}

// numbered takes in what the history service says of a message. Of one that it
// did not publish no worker will say anything.
func (g *gathering) numbered(r reply, take func(int, worker.Answer)) {
	take(r.question, r.Answer)
	delete(g.ordered, r.question)
	var n worker.Numbered
	if json.Unmarshal(r.Data, &n) != nil || !n.Repeated && !n.Outdated && n.Failed == "" {
		return
	}
	if g.held == nil {
		g.held = map[int]bool{}
	}
	g.held[r.question] = true
	for e := range g.missing {
		if e.question == r.question {
			delete(g.missing, e)
		}
	}
}

// mustNumber says that a question is not answered before the history service has
// answered it, be there no worker at all.
func (g *gathering) mustNumber(question int) {
	if g.ordered == nil {
		g.ordered = map[int]bool{}
	}
	g.ordered[question] = true
}

// await looks at the roster and returns the channel that tells of its next
// change.
func (g *gathering) await() <-chan struct{} {
	names, changed := g.roster.get()
	if g.hosts {
		names = withHosts(names)
	}
	switch {
	case names == nil:
	case g.missing == nil:
		g.expect(names)
	default:
		g.mark(names)
	}
	return changed
}

// withHosts adds the Hosts of the nodes of these workers.
func withHosts(names []string) []string {
	all := names
	for _, name := range names {
		id, _ := control.ParseIdentity(name)
		if host := rosterOf(id.Node); !slices.Contains(all[len(names):], host) {
			all = append(all, host)
		}
	}
	return all
}

func (g *gathering) expect(names []string) {
	g.missing = make(map[expected]struct{}, g.n*len(names))
	for _, name := range names {
		for i := range g.n {
			g.must(expected{i, name})
		}
	}
}

// mark sends something the way of the answers: when it comes back, all that those who
// have left had answered has come too. Rosters and answers come on ways of their own.
func (g *gathering) mark(names []string) {
	for e := range g.missing {
		if slices.Contains(names, e.worker) {
			continue
		}
		if g.c.put(item{subject: g.replies.subject(g.n), raw: []byte("{}"), queued: time.Now(), size: 2}) == nil {
			g.marks = append(g.marks, names)
		}
		return
	}
}

// excuse waits no more for those who have left. Who has come in the place of one has
// its clients, and had the question before that one was gone, or nobody had.
func (g *gathering) excuse(names []string) {
	live, heirs := make(map[string]bool, len(names)), map[control.Identity]string{}
	for _, name := range names {
		live[name] = true
		id, _ := control.ParseIdentity(name)
		heirs[id.Place()] = name
	}
	for e := range maps.Clone(g.missing) {
		if live[e.worker] {
			continue
		}
		delete(g.missing, e)
		id, _ := control.ParseIdentity(e.worker)
		if heir := heirs[id.Place()]; heir != "" {
			g.must(expected{e.question, heir})
		}
	}
}

// vain reports whether the question was put to a server of a cluster that answers
// nobody: what was sent there is lost, or late.
func (g *gathering) vain() bool {
	l := g.c.link
	if l == nil || l.pool == nil || g.heard || g.missing != nil && len(g.missing) == 0 {
		return false
	}
	return l.joins.Load() != g.joins || l.answers() != nil
}

// outcomes tells of each question whether all have answered it.
func (g *gathering) outcomes() []Outcome {
	all := make([]Outcome, g.n)
	if g.missing == nil {
		return all
	}
	for i := range all {
		all[i].Complete = true
	}
	for e := range g.missing {
		o := &all[e.question]
		o.Complete = false
		if id, _ := control.ParseIdentity(e.worker); id.Node != "" && !slices.Contains(o.Missing, id.Node) {
			o.Missing = append(o.Missing, id.Node)
		}
	}
	for i := range all {
		slices.Sort(all[i].Missing)
	}
	for i := range g.ordered { // not known to be numbered: it may be lost with this process
		all[i].Complete = false
	}
	return all
}

// Gather implements worker.ServiceBus.
func (c *Client) Gather(q worker.BusQuery, wait time.Duration, done func([]worker.Answer, bool)) error {
	return c.gather(1, Who{}).run(q, wait, done)
}

// run asks q, and tells what has come within wait on a goroutine of its own.
func (g *gathering) run(q worker.BusQuery, wait time.Duration, done func([]worker.Answer, bool)) error {
	if err := g.ask(q); err != nil {
		g.close()
		return err
	}
	go func() {
		defer g.close()
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		var answers []worker.Answer
		g.collect(ctx, func(_ int, a worker.Answer) { answers = append(answers, a) })
		done(answers, g.outcomes()[0].Complete)
	}()
	return nil
}

// Collect is Gather for one who may wait, until ctx is over: it asks the workers
// that who names, and hands over each answer. Errors: as of Gather, and
// ErrBrokerAway at once, since what is queued while the broker is away might
// reach no one, or everyone a second later.
func (c *Client) Collect(ctx context.Context, q worker.BusQuery, who Who, take func(worker.Answer)) (Outcome, error) {
	if !c.Stats().Connected {
		return Outcome{}, worker.ErrBrokerAway
	}
	g := c.gather(1, who)
	defer g.close()
	if err := g.ask(q); err != nil {
		return Outcome{}, err
	}
	g.collect(ctx, func(_ int, a worker.Answer) { take(a) })
	if g.vain() {
		return Outcome{}, worker.ErrBrokerAway
	}
	return g.outcomes()[0], nil
}

// PublishCollect publishes all of ps or, with an error, none, and hands over
// what the workers answer to each; the outcomes are those of each.
// Errors: as of PublishAll, and as of Collect.
func (c *Client) PublishCollect(ctx context.Context, ps []worker.Publication, take func(i int, a worker.Answer)) ([]Outcome, error) {
	if !c.Stats().Connected {
		return nil, worker.ErrBrokerAway
	}
	g := c.gather(len(ps), Who{})
	defer g.close()
	for i := range ps {
		ps[i].Reply = g.replies.subject(i)
		if c.ordered(&ps[i]) {
			g.mustNumber(i)
		}
	}
	if err := c.PublishAll(ps); err != nil {
		return nil, err
	}
	g.collect(ctx, take)
	g.collectNumbers(NumberWait, take)
	if g.vain() {
		return nil, worker.ErrBrokerAway
	}
	return g.outcomes(), nil
}

// NumberWait is how long a message may wait to be numbered where all nodes share
// a history: its servers may be choosing a leader.
const NumberWait = 2500 * time.Millisecond

// collectNumbers waits for what the history service has to say, be the workers
// late or not: who is told that a message was not numbered may publish it again.
// Of a message that it says nothing of, nobody knows whether it was kept: that is
// told as a failure, never as a message without a position.
func (g *gathering) collectNumbers(wait time.Duration, take func(int, worker.Answer)) {
	if len(g.ordered) == 0 || g.c.o.URL == "" {
		return
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	for len(g.ordered) > 0 {
		select {
		case <-g.replies.C:
			for _, r := range g.replies.take() {
				g.answered(r, take)
			}
			continue
		case <-limit.C:
		case <-g.c.closed:
		}
		silent, _ := json.Marshal(worker.Numbered{Failed: worker.HistorySilent})
		for i := range g.ordered {
			g.answered(reply{i, worker.Answer{Worker: worker.HistoryService, Data: silent}}, take)
		}
	}
}
