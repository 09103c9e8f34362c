package worker

import (
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/handover"
	"github.com/pushd/pushd/worker/reactor"
)

// TestPauseIsMeasured: from the freezing in one process, whose time comes with
// the batch, to the place in the loop of the next one, in microseconds.
func TestPauseIsMeasured(t *testing.T) {
	const planted = 1234 * time.Millisecond
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	k := importer(t, s)
	batch := batchOf(recordOf(w.loop, 1, nil))
	frozen := reactor.Monotonic() - planted
	binary.BigEndian.PutUint64(batch, uint64(frozen))
	clients, fds := pipes(t, 1)
	must(t, k.Send(handover.Batch, batch, fds))
	closeAll(fds)
	_, err := k.Expect(handover.Ack, 0)
	must(t, err)
	must(t, k.Send(handover.Commit, nil, nil))
	_, err = k.Expect(handover.Landed, 0)
	must(t, err)
	most := reactor.Monotonic() - frozen
	must(t, k.Send(handover.End, nil, nil))
	p, err := k.Expect(handover.Report, 0)
	must(t, err)
	var r control.Exported
	must(t, json.Unmarshal(p.Body, &r))
	if r.MaxUS < planted.Microseconds() || r.MaxUS > most.Microseconds() {
		t.Errorf("a pause of %d µs, want %d to %d", r.MaxUS, planted.Microseconds(), most.Microseconds())
	}
	if at := control.PauseBucket(r.MaxUS); len(r.Pauses) != at+1 || r.Pauses[at] != 1 {
		t.Errorf("pauses %v, want one in bucket %d", r.Pauses, at)
	}
	clients[0].Close()
}

// TestTimeOfFreezing is that, in nanoseconds of the system's monotonic clock.
func TestTimeOfFreezing(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	echoes(s, 1)
	ours, theirs := socketpair(t)
	k, err := handover.New(theirs)
	must(t, err)
	theirs.Close()
	before := reactor.Monotonic()
	reported := make(chan control.Exported, 1)
	go func() { reported <- s.export(ours) }()
	hello(k)
	p, err := k.Receive(0)
	must(t, err)
	if at := time.Duration(binary.BigEndian.Uint64(p.Body)); at < before || at > reactor.Monotonic() {
		t.Errorf("frozen at %s, want %s to now", at, before)
	}
	p.Drop()
	k.Close()
	<-reported
	must(t, s.master.Send(control.TypeResume, 3, nil))
	s.receive()
}
