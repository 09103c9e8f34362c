package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/fault"
	"github.com/pushd/pushd/worker/handover"
	"github.com/pushd/pushd/worker/reactor"
)

// export is the old worker's side of a hand-over. It runs on a goroutine of its own
// and touches connections by way of the loop only; between the steps of a batch the
// loop does other work.
//
// Who owns a connection of a batch:
//
//	freeze  the loop, still: it is out of the reactor's sight (flagMoving), and
//	        nothing is written to it but what was on its way
//	pack    both: the record and a duplicate of the socket are with the batch;
//	        what happens to the connection here from now on, nobody will know
//	ack     both: the new worker has read all, and touched nothing
//	commit  the new one; ours is closed before the commit is sent, since of two
//	        that read one socket each gets a part
//
// So a hand-over that fails before the commit is taken back by forgetting the
// duplicates, and one that fails after it has lost nothing here. What is published
// meanwhile is in this worker's journal and in the other's, and the vector that was
// noted at freeze says for each connection which of it is still to come.
type export struct {
	l      *loop
	k      *handover.Courier
	out    control.Exported
	most   int              // bytes of a connection that can move
	reads  byte             // version of records that the new worker reads
	heir   string           // its identity, "" = not known
	held   []*Conn          // the batch that is not committed
	size   int              // bytes that its records take, at most; as weighed in freeze
	at     delivered.Vector // of held
	carry  []byte           // of handlers; see appendCarried
	unsent delivered.Vector // what at has beyond the batch before
	told   uint64           // followed when at got what the chains are
	over   chan struct{}    // closed when run has ended
	broken bool             // it has failed; valid after over
	back   sync.Once        // resume
}

func newExport(l *loop, k *handover.Courier) *export {
	return &export{l: l, k: k, most: handover.MaxRecord, reads: RecordVersion, at: delivered.Vector{}, unsent: delivered.Vector{}, over: make(chan struct{})}
}

// errorAt is an error with the step at which it happened.
type errorAt struct {
	step string
	err  error
}

func (e *errorAt) Error() string { return e.step + ": " + e.err.Error() }
func (e *errorAt) Unwrap() error { return e.err }

func at(step string, err error) error {
	if err == nil {
		return nil
	}
	return &errorAt{step, err}
}

// run moves what can be moved. After an error the caller waits for the master's
// word on what to do with the rest. It runs on a goroutine of its own.
func (x *export) run() error {
	fault.Point("export")
	hello, err := x.k.Expect(handover.Hello, 0)
	if err == nil {
		x.reads, err = x.l.readsAll(hello.Body)
	}
	if err != nil {
		return at("hello", err)
	}
	if err := x.prepare(); err != nil {
		return at("prepare", err)
	}
	fault.Point("export prepare")
	if err := x.introduce(); err != nil {
		return at("questions", err)
	}
	if err := x.start(); err != nil {
		return at("begin", err)
	}
	if err := x.handCarry(); err != nil {
		return at("carry", err)
	}
	fault.Point("export carry")
	began := x.l.reactor.Now()
	defer func() { x.out.TookUS = (x.l.reactor.Now() - began).Microseconds() }()
	for more := true; more; {
		step, n := "canary", handover.CanaryConns
		if x.out.Moved > 0 {
			step, n = fmt.Sprintf("after %d connections", x.out.Moved), handover.BatchConns
		}
		var err error
		if more, err = x.batch(n); err != nil {
			return at(step, err)
		}
	}
	return at("report", x.end())
}

// start begins, and returns when all that had reached the broker by then has been
// delivered here: the new worker's journal has only what comes later. The order
// matters: the journal of the new worker is on since before its hello, ours is on
// when begin returns, and only then is the broker asked. A publication is so in one
// of the two at least, and the vector keeps it from being delivered from both.
func (x *export) start() error {
	var b *barrier
	var err error
	var heard atomic.Pointer[delivered.Vector]
	if doErr := x.l.do(func() {
		if err = x.begin(); err == nil {
			b = x.l.barrierBehind(func() { heard.Store(x.l.whatWasHeard()) })
		}
	}); doErr != nil || err != nil {
		return errors.Join(doErr, err)
	}
	if err := b.wait(); err != nil {
		return err
	}
	maps.Copy(x.unsent, *heard.Load()) // all of it has been delivered by now
	return nil
}

// errStopping ends a hand-over between two batches.
var errStopping = errors.New("this worker has been told to stop")

// begin stops everything that would change under the hand-over. It runs on the
// loop.
func (x *export) begin() error {
	l := x.l
	if !l.become(phaseHanding) {
		return errStopping
	}
	l.fan.journal.Open()
	l.fan.seen.NoteNews()
	l.reactor.Deafen(true)
	_ = l.each(func(r *route) error {
		if r.onWorkerReload != nil {
			defer l.contain("OnWorkerReload", nil)
			r.onWorkerReload(l.w)
		}
		return nil
	})
	return nil
}

// batch moves up to n connections. It reports false when there are none left to
// wait for.
//
// Before the commit it waits for two things, in whatever order they come: the ack,
// and the broker's word that it has what these clients have published here. Without
// the latter a client could publish a second message in the new process that
// overtakes its first. Descriptors in fds are ours to close, whatever happens; those
// that the other process gets are others.
func (x *export) batch(n int) (more bool, err error) {
	l := x.l
	frozen := x.l.reactor.Now()
	var body []byte
	var fds []int
	stopping := false
	var answered []BusQuery
	if doErr := l.do(func() {
		l.allLanded()
		answered = l.questions.passOn()
		if stopping = l.phase.leaving(); !stopping {
			x.freeze(n)
		}
	}, func() { body, fds, err = x.pack() }); doErr != nil {
		return false, doErr
	}
	if stopping {
		return false, errStopping
	}
	fault.Point("export freeze")
	defer func() {
		for _, fd := range fds {
			closeFD(fd)
		}
	}()
	if err == nil {
		err = x.passOn(answered)
	}
	if err != nil {
		return false, err
	}
	if len(fds) == 0 {
		return x.wait(), nil
	}
	defer clear(body)             // there may be keys in it
	published := l.barrier(false) // is under way while the batch is
	binary.BigEndian.PutUint64(body, uint64(frozen))
	if err := x.k.Send(handover.Batch, body, fds); err != nil {
		return false, err
	}
	fault.Point("export batch")
	ack, err := x.k.Expect(handover.Ack, len(body))
	if err != nil {
		return false, err
	}
	fault.Point("export ack")
	if err := published.wait(); err != nil {
		return false, err
	}
	l.besides(ack.Body)
	x.unsent = delivered.Vector{}
	x.out.Bytes += int64(len(body))
	return true, x.commit(len(body))
}

// headroom is how many sockets can be duplicated at once, at least one: a worker
// that is full moves in small batches, each of which makes room for a larger one.
func (l *loop) headroom() int {
	return max(l.accept.files-reserve/2-max(reactor.LowestFree(), l.used()), 1)
}

// freeze takes up to n connections out of the loop's reach, and no more than
// handover.BatchBytes of them, but always one. One that has more than can move at
// all is told to come back. It runs on the loop. Events that were fetched already
// may still come in this turn; what they bring, a ReadChunk at most, is kept, so
// the records are written in a later turn, by pack.
func (x *export) freeze(n int) {
	l := x.l
	l.fan.complete(l)
	l.uncork()
	l.become(phaseHanding)
	news := l.fan.seen.TakeNews()
	x.at.Merge(news)
	x.unsent.Merge(news)
	if x.told != l.recall.followed { // since the batch before
		news := l.recall.stands(x.told)
		x.told = l.recall.followed
		x.at.Merge(news)
		x.unsent.Merge(news)
	}
	x.size = 0
	n = min(n, l.headroom())
	var stay []*Conn
	for _, c := range l.conns.all {
		if len(x.held) == n {
			break
		}
		if !c.movable() {
			continue
		}
		w := c.weight()
		if w > x.most || c.recordVersion() > x.reads { // the latter has become so since the hello
			stay = append(stay, c)
			continue
		}
		if x.size+w > handover.BatchBytes && len(x.held) > 0 {
			break
		}
		l.reactor.Detach(c.sock)
		c.set(flagMoving)
		c.clear(flagRest)
		x.held = append(x.held, c)
		x.size += w
	}
	l.underway.frozen = len(x.held) > 0
	l.underway.heir = x.heir // it has been on the bus for longer than the broker was asked at the start
	for _, c := range stay {
		l.log.Warn("a connection cannot move", "connection", c.ID(), "bytes", c.weight(), "record_version", c.recordVersion())
		x.out.Drained++
		l.closeConn(c, 1012, "service restart", nil)
	}
}

// pack writes the records of the frozen connections, behind room for the time,
// and duplicates their sockets. It runs on the loop, in a turn after that of freeze:
// what the reactor had fetched for them by then has been kept by now. With an error
// the caller closes fds, and the connections stay in held for resume.
func (x *export) pack() (body []byte, fds []int, err error) {
	x.held = slices.DeleteFunc(x.held, func(c *Conn) bool { return !c.sock.Valid() }) // left in the last moment
	at := x.at
	if x.reads >= 2 {
		at = x.unsent
	}
	body = at.Append(make([]byte, 8, 12+delivered.Entry*len(at)+x.size))
	for _, c := range x.held {
		fd, err := x.l.reactor.Duplicate(c.sock)
		if err != nil {
			return nil, fds, fmt.Errorf("duplicate connection: %w", err)
		}
		fds = append(fds, fd)
		start := len(body) + 4
		body = c.appendRecord(append(body, 0, 0, 0, 0))
		binary.BigEndian.PutUint32(body[start-4:], uint32(len(body)-start))
	}
	return body, fds, nil
}

// movable reports whether the connection can leave now. One with a deferred
// answer leaves once that is given; one that is about to end does not.
func (c *Conn) movable() bool {
	return c.sock.Valid() && !c.has(flagDead|flagEnd|flagHeld|flagMoving) && c.stage == stageOpen && c.transport.moves
}

// wait gives connections that cannot move yet some time, which deferTimeout
// bounds. It reports whether there is to be a further batch: some can move now, or
// this worker is to stop, which the batch notices. One may have been empty because
// all of it has left.
func (x *export) wait() (more bool) {
	until(func() bool {
		pending := false
		var answered []BusQuery
		err := x.l.do(func() {
			more, pending = x.look()
			answered = x.l.questions.passOn()
		})
		if err == nil {
			err = x.passOn(answered)
		}
		return err != nil || more || !pending
	}, 0, nil)
	return more
}

// look reports whether there is something for a batch to do, and whether there may
// be something later. It runs on the loop.
func (x *export) look() (more, pending bool) {
	l := x.l
	for _, c := range l.conns.all {
		more = more || c.movable()
		pending = pending || c.has(flagHeld) && !c.more.held.begun()
	}
	if l.become(phaseHanding); pending {
		l.become(phaseWaiting)
	}
	return more || l.phase.leaving(), pending
}

// commit gives up our duplicates, then tells the new worker so. The batch had so
// many bytes.
func (x *export) commit(bytes int) error {
	if err := x.release(); err != nil {
		return err
	}
	fault.Point("export close")
	if err := x.k.Send(handover.Commit, []byte(x.l.broker.Server()), nil); err != nil {
		return err
	}
	fault.Point("export commit")
	// Frozen only when the ones before have landed: a batch under way while
	// another is frozen moves no more a second, and doubles the pause.
	_, err := x.k.Expect(handover.Landed, bytes)
	return err
}

// release gives up our ends of what the new worker has.
func (x *export) release() error {
	l := x.l
	err := l.do(func() {
		for _, c := range x.held {
			if c.sock.Valid() {
				c.set(flagDead)
				l.reactor.Close(c.sock) // ends in moved
			}
		}
	})
	x.out.Moved += len(x.held)
	x.held = nil
	return err
}

// moved forgets a connection that lives elsewhere now. No callback runs.
func (l *loop) moved(c *Conn) {
	l.stopTimers(c)
	l.farewell(c)
	if c.out != nil {
		l.counts.queueBytes -= int64(c.out.bytes)
		c.out = nil
	}
	l.hub.LeaveAll(c)
	l.recall.forget(c)
	l.conns.remove(c)
	l.dropSession(c)
	c.in, c.sock = nil, reactor.Handle{}
}

// end asks for the report. When it is over this process may leave, and its last answers
// must not come behind the news of that, which another server may bring.
func (x *export) end() error {
	told := false
	var answered []BusQuery
	if err := x.l.do(func() {
		told, answered = x.l.underway.told, x.l.questions.passOn()
		x.l.questions.passes = false // nothing moves any more
	}); err != nil {
		return err
	}
	if err := x.passOn(answered); err != nil {
		return err
	}
	if told {
		x.l.everywhere()
	}
	if err := x.k.Send(handover.End, nil, nil); err != nil {
		return err
	}
	p, err := x.k.Expect(handover.Report, 0)
	if err != nil {
		return err
	}
	var r control.Exported
	if err := json.Unmarshal(p.Body, &r); err != nil {
		return err
	}
	fault.Point("export report")
	x.out.Pauses, x.out.MaxUS = r.Pauses, r.MaxUS
	x.out.Drained += r.Drained
	return x.l.do(func() { x.out.Left = x.l.conns.len() })
}

// hand answers the master's export order. The next one says to leave or, when
// the new worker is dead, to resume.
func (s *serving) hand(x *export, id uint64) {
	defer x.k.Close()
	if err := x.run(); err != nil {
		x.broken = true
		var e *errorAt
		x.out.Step, x.out.Error = "hand over", err.Error()
		if errors.As(err, &e) {
			x.out.Step, x.out.Error = e.step, e.err.Error()
		}
	}
	close(x.over)
	body, err := json.Marshal(x.out)
	m := control.Message{Type: control.TypeAnswer, ID: id, Body: body}
	if err != nil {
		m.Error = err.Error()
	}
	s.send(m)
}
