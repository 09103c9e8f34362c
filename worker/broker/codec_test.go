package broker

import (
	"bytes"
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
	if len(s.publishers) != 1 || s.publishers[1].last[5] != 66 {
		t.Errorf("after the sweep: %v", s.publishers)
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
