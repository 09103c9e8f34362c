package broker

import (
	"bytes"
	"encoding/binary"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
)

func samples() []worker.Publication {
	return []worker.Publication{
		{Publisher: 1, Seq: 1, Kind: worker.KindMessage, Scope: worker.ScopeAll, Data: []byte{}},
		{Publisher: 1<<64 - 1, Shard: 63, Seq: 1 << 40, Kind: worker.KindMessage, Scope: worker.ScopeChannel,
			Target: "房间 > * .", Binary: true, Except: []string{"1.2", ""}, Data: []byte("data\x00\r\n")},
		{Publisher: 7, Shard: 5, Seq: 300, Kind: worker.KindKick, Scope: worker.ScopeUID, Target: "42", Code: 4001, Data: []byte("bye")},
		{Publisher: 8, Shard: 6, Seq: 301, Kind: worker.KindService, Scope: worker.ScopeList, Target: "room", Code: 2,
			Conns: []string{"1.2", "3.4"}, Except: []string{"3.4"}, Data: []byte("{}")},
		{Publisher: 8, Shard: 6, Seq: 302, Kind: worker.KindMessages, Scope: worker.ScopeChannel, Target: "room",
			Data: worker.AppendMessage(worker.AppendMessage(nil, []byte("a")), []byte("b"))},
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	for _, p := range samples() {
		b := appendEnvelope(nil, &p)
		if len(b) > envelopeSize(&p) {
			t.Errorf("%+v: %d bytes, announced %d", p, len(b), envelopeSize(&p))
		}
		got, err := parseEnvelope(b)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, p)
		}
	}
}

func TestEnvelopeCutAnywhere(t *testing.T) {
	p := samples()[1]
	p.Data = nil
	whole := appendEnvelope(nil, &p)
	for n := range whole {
		if got, err := parseEnvelope(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes: %+v", n, len(whole), got)
		}
	}
}

func TestEnvelopeForgedCounts(t *testing.T) {
	head := appendEnvelope(nil, &worker.Publication{Publisher: 1, Seq: 1})[:envelopeFixed+1]
	head[3] = flagExcept
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}
	for name, tail := range map[string][]byte{
		"target": huge,
		"except": append([]byte{0}, huge...),
	} {
		if _, err := parseEnvelope(append(bytes.Clone(head), tail...)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPositionsRoundTrip(t *testing.T) {
	want := map[uint8]uint64{0: 1, 5: 300, 63: 1 << 40}
	var seq [worker.Shards]uint64
	for shard, n := range want {
		seq[shard] = n
	}
	whole := appendPositions(nil, &seq)
	for cut := range len(whole) + 1 {
		got := map[uint8]uint64{}
		parsePositions(whole[:cut], func(shard uint8, n uint64) { got[shard] = n })
		for shard, n := range got {
			if n != want[shard] {
				t.Errorf("cut at %d: shard %d is %d, want %d", cut, shard, n, want[shard])
			}
		}
		if cut == len(whole) && len(got) != len(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	parsePositions([]byte{worker.Shards, 1}, func(uint8, uint64) { t.Error("a shard that there is not") })
}

func FuzzEnvelope(f *testing.F) {
	for _, p := range samples() {
		f.Add(appendEnvelope(nil, &p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseEnvelope(b)
		if err != nil {
			return
		}
		again, err := parseEnvelope(appendEnvelope(nil, &p))
		if err != nil {
			t.Fatalf("%+v does not survive: %v", p, err)
		}
		if len(p.Except) == 0 {
			p.Except, again.Except = nil, nil
		}
		if len(p.Conns) == 0 {
			p.Conns, again.Conns = nil, nil
		}
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v became %+v", p, again)
		}
	})
}

func TestSequences(t *testing.T) {
	s, now, src := newSequences(), time.Now(), source{1, 5}
	for _, step := range []struct {
		seq     uint64
		fresh   bool
		missing uint64
	}{
		{57, true, 0}, {58, true, 0}, {58, false, 0}, {10, false, 0}, {62, true, 3}, {63, true, 0},
	} {
		if fresh, missing := s.advance(src, step.seq, now); fresh != step.fresh || missing != step.missing {
			t.Errorf("%d: fresh %v, missing %d", step.seq, fresh, missing)
		}
	}
	if n := s.settle(src, 63, now); n != 0 {
		t.Errorf("position already reached: missing %d", n)
	}
	if n := s.settle(src, 65, now); n != 2 {
		t.Errorf("position two ahead: missing %d", n)
	}
	if n := s.settle(source{2, 0}, 9, now); n != 0 {
		t.Errorf("position of an unknown publisher: missing %d", n)
	}
	if !s.complete(3, now) || s.complete(3, now) {
		t.Error("a publisher is news once")
	}
	if fresh, missing := s.advance(source{3, 7}, 4, now); !fresh || missing != 3 {
		t.Errorf("first number heard of a publisher known as a whole: fresh %v, missing %d", fresh, missing)
	}
	if n := s.settle(source{3, 8}, 2, now); n != 2 {
		t.Errorf("first position of a shard of such a publisher: missing %d", n)
	}
	s.advance(src, 66, now.Add(publisherIdle/2))
	s.sweep(now.Add(publisherIdle))
	if len(s.publishers) != 3 {
		t.Errorf("a few publishers are kept: %v", s.publishers)
	}
	for id := range uint64(publisherFew) {
		s.advance(source{100 + id, 0}, 1, now)
	}
	s.sweep(now.Add(publisherIdle + time.Minute))
	if len(s.publishers) != 1 || s.publishers[1].last[5] != 66 {
		t.Errorf("after the sweep: %v", s.publishers)
	}
}

// TestSequencesOfAnHeir: what lies between where the process before stood and the
// first number that is heard here is missing, whichever of the two is known first.
func TestSequencesOfAnHeir(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		what         string
		first, stood uint64 // the first number heard; where the other one was
		announced    bool   // first is a position
		missing      uint64
	}{
		{"next", 6, 5, false, 0}, {"behind", 3, 5, false, 0}, {"ahead", 9, 5, false, 3},
		{"a position that it had", 5, 5, true, 0}, {"a position ahead", 9, 5, true, 4},
	} {
		for _, late := range []bool{false, true} {
			s, src := newSequences(), source{1, 5}
			hear := func() (missing uint64) {
				if c.announced {
					return s.settle(src, c.first, now)
				}
				_, missing = s.advance(src, c.first, now)
				return missing
			}
			missing := uint64(0)
			if late {
				missing = hear() + s.expect(src, c.stood, now)
			} else {
				missing = s.expect(src, c.stood, now) + hear()
			}
			if missing != c.missing {
				t.Errorf("%s, heard before it is told %v: missing %d, want %d", c.what, late, missing, c.missing)
			}
			if fresh, n := s.advance(src, 20, now); !fresh || n != 19-c.first {
				t.Errorf("%s: afterwards %v, missing %d", c.what, fresh, n)
			}
		}
	}
	s := newSequences()
	s.younger(1, now, nil)
	if n := s.settle(source{1, 0}, 1, now); n != 0 {
		t.Errorf("a greeting is no message: missing %d", n)
	}
	if n := s.expect(source{1, 3}, 7, now); n != 0 {
		t.Errorf("it is known from its beginning: %d", n)
	}
	if _, n := s.advance(source{1, 3}, 9, now); n != 8 {
		t.Errorf("it is known from its beginning: missing %d", n)
	}
	for _, src := range []source{{2, 0}, {2, 4}, {2, 5}} { // one is heard before it is known how old it is
		s.advance(src, 4, now)
	}
	s.settle(source{2, 6}, 4, now)
	s.advance(source{2, 7}, 1, now)
	got := map[uint8]uint64{}
	for range 2 {
		s.younger(2, now, func(shard uint8, n uint64) { got[shard] += n })
	}
	if want := map[uint8]uint64{0: 2, 4: 3, 5: 3, 6: 4}; !maps.Equal(got, want) {
		t.Errorf("missing %v, want %v", got, want)
	}
}

func TestAge(t *testing.T) {
	var seq [worker.Shards]uint64
	seq[3], seq[60] = 7, 1<<40
	b := appendAge(appendPositions(nil, &seq), 90*time.Second)
	if age, ok := parseAge(b); !ok || age != 90*time.Second {
		t.Error(age, ok)
	}
	n := 0
	parsePositions(b, func(uint8, uint64) { n++ })
	if n != 2 {
		t.Errorf("%d positions", n)
	}
	for cut := range b {
		if age, ok := parseAge(b[:cut]); ok && cut < len(b)-1 {
			t.Errorf("%d bytes: %s", cut, age)
		}
	}
	if _, ok := parseAge(appendPositions(nil, &seq)); ok {
		t.Error("the version before says no age")
	}
	if age, ok := parseAge(binary.AppendUvarint([]byte{ageMark}, 1<<63)); !ok || age != maxAge {
		t.Error(age, ok)
	}
}

func TestQueueKeepsOrderAndLimits(t *testing.T) {
	q := newQueue(3, 100)
	if !q.put(item{size: 60, reply: "a"}) || q.put(item{size: 41}) || !q.put(item{size: 40, reply: "b"}) {
		t.Error("the limit of 100 bytes is not kept")
	}
	batch := q.take()
	if len(batch) != 2 || batch[0].reply != "a" || batch[1].reply != "b" {
		t.Errorf("taken %+v", batch)
	}
	if q.put(item{size: 1}) {
		t.Error("what is taken but not done no longer counts")
	}
	q.done(&batch[0])
	q.done(&batch[1])
	if !q.put(item{}, item{}, item{}) || q.put(item{}) {
		t.Error("the limit of 3 items is not kept")
	}
	q.close()
	if q.take(); q.put(item{}) {
		t.Error("a closed queue takes more")
	}
}
