package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/fault"
	"github.com/pushd/pushd/worker/handover"
	"github.com/pushd/pushd/worker/reactor"
	"github.com/pushd/pushd/worker/record"
)

// imports is the new worker's side of a hand-over. It runs on a goroutine of
// its own, but for the methods that say otherwise.
//
// Nothing that comes is believed: records are read and checked as a whole before
// anything acts on them, by parseRecord on this goroutine, and in admit, on the
// loop, what depends on the config and on who is here already. Until the commit a
// batch is the old worker's: all that may be done with it is to read it, and to
// close the descriptors (shipment.drop). From the commit on it is ours whatever
// becomes of the channel: a connection for which there is no place is closed in
// order, with a goodbye, and none is given back.
//
// The journal of this process is on since before the old worker was told to begin,
// and goes off with the last import. admit delivers from it what a connection has
// not had, in the turn in which it also enters the hub. So each publication reaches
// it once: from the old worker, the journal, or the hub.
type imports struct {
	l      *loop
	k      *handover.Courier
	out    control.Exported
	landed chan struct{}    // of the batch: closed when its last connection is in place
	carry  []byte           // of handlers; see appendCarried
	open   int              // connections on their way into the reactor; the loop's
	at     delivered.Vector // where the old worker stands, and what it followed; the loop's
	ahead  bool             // of this one; the loop's
	holds  bool             // the old worker passes on questions
	sure   bool             // all that came before it did is answered
	told   bool             // admit has sent answers that must not come behind those of the old worker
}

// shipment is a batch that has been read and not yet touched. files[i] is the socket
// of arrived[i], and the shipment's until enrol has given it away.
type shipment struct {
	frozen  time.Duration    // when the old worker lost sight of them, by the clock that both share
	at      delivered.Vector // what has changed since the batch before, at least
	heard   delivered.Vector // by the old worker's end of the bus; in the first batch
	arrived []*arrival
	files   []int
}

func (s *shipment) drop() {
	for _, fd := range s.files {
		closeFD(fd)
	}
}

// run takes what the old worker sends until the end.
func (m *imports) run() error {
	fault.Point("import")
	if err := m.k.Send(handover.Hello, []byte{RecordVersion}, nil); err != nil {
		return err
	}
	fault.Point("import hello")
	for {
		p, err := m.k.Receive(0)
		switch {
		case err != nil:
			return err
		case p.Kind == handover.End:
			p.Drop()
			return m.report()
		case p.Kind == handover.Carry && len(p.Files) == 0:
			m.carry = p.Body
			fault.Point("import carry")
			continue
		case p.Kind == handover.Question && len(p.Files) == 0:
			if err := m.question(p.Body); err != nil {
				return err
			}
			continue
		case p.Kind != handover.Batch:
			p.Drop()
			return fmt.Errorf("the other worker sent %q", p.Kind)
		}
		if err := m.batch(p); err != nil {
			_ = m.k.Send(handover.Error, []byte(err.Error()), nil)
			return err
		}
	}
}

// batch reads one batch, acknowledges it, and takes it over once committed. It
// returns when all of it is in the loop, or lost: the old worker freezes no further
// one before. An error ends the hand-over; what came before stays here.
func (m *imports) batch(p handover.Parcel) error {
	s, err := m.unpack(p)
	clear(p.Body) // there may be keys in it
	if err != nil {
		p.Drop()
		return err
	}
	fault.Point("import batch")
	if err := m.k.Send(handover.Ack, []byte(m.l.broker.Server()), nil); err != nil {
		s.drop()
		return err
	}
	fault.Point("import ack")
	commit, err := m.k.Expect(handover.Commit, len(p.Body))
	if err != nil {
		s.drop()
		return err
	}
	fault.Point("import commit")
	m.landed = make(chan struct{})
	for from, seq := range s.heard {
		m.l.broker.Expect(from.Publisher, from.Shard, seq)
	}
	if err := m.l.do(func() { m.admit(s) }); err != nil {
		return err
	}
	select {
	case <-m.landed:
	case <-time.After(time.Duration(handover.TurnsFor(len(p.Body))) * handover.Turn):
		return errors.New("connections do not get into the event loop")
	}
	fault.Point("import admit")
	if m.told {
		if err := m.l.barrier(false).wait(); err != nil {
			m.l.log.Warn("a count may be too low", "error", err)
		}
		m.l.besides(commit.Body)
	}
	if err := m.k.Send(handover.Landed, nil, nil); err != nil {
		return err
	}
	fault.Point("import landed")
	return nil
}

// unpack reads the records and checks that there is room for the sockets. With an error
// the descriptors are still the parcel's, and closed with it; without one they are the
// shipment's.
func (m *imports) unpack(p handover.Parcel) (*shipment, error) {
	s, err := m.read(p)
	if err != nil {
		return nil, err
	}
	for _, fd := range s.files { // one that blocks would stop everybody's loop
		if err := neverBlock(fd); err != nil {
			return nil, err
		}
	}
	// Each may need a second number for a moment, in turn. The old worker may have
	// been full, and this one may have more descriptors of its own than that.
	// One that may have no more than a worker keeps back takes nobody.
	if m.l.accept.files <= reserve || !reactor.Spare(importSpare) {
		return nil, fmt.Errorf("out of descriptors: fewer than %d of %d are free, or no more than the %d that a worker keeps back",
			importSpare, m.l.accept.files, reserve)
	}
	return s, nil
}

// read reads the records of a batch: the moment at which the old worker lost sight of
// them, the vector, then length and bytes of each record, one for each descriptor and in
// their order. Nothing acts on them yet, and nothing refers to the bytes afterwards. What
// all fields together weigh is bounded, since a reader makes an object of many.
func (m *imports) read(p handover.Parcel) (*shipment, error) {
	s := &shipment{files: p.Files}
	b := p.Body
	if len(b) < 8 {
		return nil, record.ErrDamaged
	}
	s.frozen = time.Duration(binary.BigEndian.Uint64(b))
	var err error
	if s.at, b, err = delivered.Parse(b[8:]); err != nil {
		return nil, err
	}
	s.heard = s.at.TakeHeard()
	for weight := 0; len(b) >= 4; {
		n := int(binary.BigEndian.Uint32(b))
		if n > len(b)-4 {
			return nil, record.ErrDamaged
		}
		a, err := parseRecord(m.l, b[4:4+n])
		if err != nil {
			return nil, err
		}
		if weight += a.weight; weight > handover.MaxBatch || len(s.arrived) == len(s.files) {
			return nil, fmt.Errorf("%w: more records than descriptors, or more fields than a batch may have", record.ErrDamaged)
		}
		s.arrived = append(s.arrived, a)
		b = b[4+n:]
	}
	if len(b) != 0 || len(s.arrived) != len(s.files) {
		return nil, fmt.Errorf("%w: %d records for %d descriptors", record.ErrDamaged, len(s.arrived), len(s.files))
	}
	return s, nil
}

// importSpare is how many descriptors are to be free behind a batch.
const importSpare = 8

// admit takes the connections over: they are ours from here. It runs on the
// loop, in one turn, so that no publication falls between replay and the hub.
//
// In this order: a publication under way is finished, since the journal has it and
// its list of members does not have them; they get their names, then what the journal
// has for these names, which may take a name away again; then their sockets go to the
// reactor, which tells of each when it is there (land), in a later turn. What the
// old worker has delivered and this one has yet to hear of is skipped for as long
// as it can be under way.
func (m *imports) admit(s *shipment) {
	l := m.l
	l.fan.complete(l)
	m.advance(s.at)
	conns, files, homeless := m.enrol(s)
	if m.ahead {
		at := l.skipped(conns, m.at)
		l.after(skipFor, func() { l.unskip(conns, at, l.now+skipMost) })
	}
	l.beatAgain()
	l.lackedBy(m.at)
	l.followOn(conns, m.at)
	m.told = l.replay(conns, m.at)
	if m.open = len(conns); m.open == 0 {
		close(m.landed)
	}
	for i, c := range conns {
		l.landing[c] = func(ok bool) { m.land(c, ok, s.frozen) }
		if c.transport.stays {
			l.reactor.AdoptSettled(c, files[i])
		} else {
			l.reactor.Adopt(c, files[i])
		}
		l.bound(c)
	}
	for _, c := range homeless {
		m.out.Drained++
		l.closeConn(c, 1012, "service restart", nil)
	}
	if l.parting != nil { // those that were here before are being sent away
		for _, c := range conns {
			l.parting(c)
		}
	}
}

// advance takes what has changed of where the old worker stands. Where it was
// not ahead before, only that can have brought it there.
func (m *imports) advance(changed delivered.Vector) {
	if m.at == nil {
		m.at = delivered.Vector{}
	}
	m.at.Merge(changed)
	if m.ahead {
		changed = m.at
	}
	m.ahead = !m.l.fan.seen.Covers(changed)
}

// enrol gives the connections their places in this process: the registry, the
// hub, the heartbeat. Homeless are those for which the config has none: they are
// among conns all the same, and are told when they are in. One of a name that is
// here is closed at once, as nothing could be said to it that the other would not
// be taken for.
func (m *imports) enrol(s *shipment) (conns []*Conn, files []int, homeless []*Conn) {
	l := m.l
	for i, a := range s.arrived {
		c := a.c
		if l.conns.numbered(c.Number()) != nil { // no two have one name, whatever the record says
			l.log.Error("a connection arrived that is here already", "connection", c.ID())
			closeFD(s.files[i])
			m.out.Drained++
			continue
		}
		l.counts.queueBytes += int64(c.out.bytes)
		l.conns.add(c)
		if !a.place(l) {
			homeless = append(homeless, c)
		}
		a.watch(l)
		conns, files = append(conns, c), append(files, s.files[i])
	}
	return conns, files, homeless
}

// land runs when a connection is in place or lost, on the loop, once for each of
// the batch. A lost one goes through OnClose right after.
func (m *imports) land(c *Conn, ok bool, frozen time.Duration) {
	if ok {
		m.pause(m.l.reactor.Now() - frozen)
		if c.has(flagConnected) {
			c.route.resumed(c)
		}
	}
	if m.open--; m.open == 0 {
		close(m.landed)
	}
}

// pause notes how long a connection was in nobody's hands.
func (m *imports) pause(d time.Duration) {
	us := max(d.Microseconds(), 1)
	i := control.PauseBucket(us)
	for len(m.out.Pauses) <= i {
		m.out.Pauses = append(m.out.Pauses, 0)
	}
	m.out.Pauses[i]++
	m.out.MaxUS = max(m.out.MaxUS, us)
}

// report sends the numbers, which are the loop's.
func (m *imports) report() error {
	fault.Point("import end")
	var body []byte
	var err error
	if doErr := m.l.do(func() { body, err = json.Marshal(m.out) }); doErr != nil || err != nil {
		return errors.Join(doErr, err)
	}
	if err := m.k.Send(handover.Report, body, nil); err != nil {
		return err
	}
	fault.Point("import report")
	return nil
}

// take answers the master's import order: from then on what is delivered here
// is remembered for the connections to come. The order of the steps is what the old
// worker relies on: the journal is open before the master hears so, and the master lets
// the old worker begin only then. Several may be under way, of groups that get smaller:
// the journal is closed with the last.
func (s *serving) take(k *handover.Courier, id uint64) {
	defer k.Close()
	m := &imports{l: s.l, k: k}
	_ = s.l.do(func() {
		s.l.importing++
		s.l.knowBegins()
		s.l.journalBegins()
		s.l.importBegins()
	})
	s.send(control.Message{Type: control.TypeAnswer, ID: id})
	err := m.run()
	_ = s.l.do(func() {
		s.l.importEnds(m.carry)
		s.l.importing--
		if m.holds {
			s.l.holdEnds(m.sure)
		}
		if s.l.importing == 0 {
			s.l.knowEnds()
			s.l.closeJournal()
			s.l.answerLate()
			s.l.reactor.Share(s.l.balance)
		}
	})
	if err != nil && !errors.Is(err, io.EOF) {
		s.l.log.Error("taking connections over", "error", err)
	}
}
