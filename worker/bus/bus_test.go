package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/bus"
)

// TestShardsAreThoseOfEveryVersion: processes of two versions must agree.
func TestShardsAreThoseOfEveryVersion(t *testing.T) {
	for _, x := range []struct {
		scope  bus.Scope
		target string
		shard  uint8
	}{
		{bus.ScopeChannel, "", 30}, {bus.ScopeChannel, "news", 25}, {bus.ScopeUID, "news", 18},
		{bus.ScopeList, "news", 25}, {bus.ScopeAll, "", 32}, {bus.ScopeConn, "1.2", 9},
	} {
		if got := bus.Shard(x.scope, x.target); got != x.shard {
			t.Errorf("%c %q is in shard %d, was in %d", x.scope, x.target, got, x.shard)
		}
	}
	used := map[uint8]bool{}
	for i := range 2000 {
		used[bus.Shard(bus.ScopeChannel, fmt.Sprint("room-", i))] = true
	}
	if len(used) != bus.Shards {
		t.Errorf("2,000 channels are in %d of %d shards", len(used), bus.Shards)
	}
}

func TestSeveralMessages(t *testing.T) {
	want := []string{"a", "", strings.Repeat("l", 300)}
	var data []byte
	for _, s := range want {
		data = bus.AppendMessage(data, []byte(s))
	}
	var got []string
	n, err := bus.EachMessage(data, func(m []byte) { got = append(got, string(m)) })
	if n != 3 || err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d %v %q", n, err, got)
	}
	for _, cut := range []int{1, 5, 299} {
		if n, err := bus.EachMessage(data[:len(data)-cut], nil); n != 2 || err == nil {
			t.Errorf("%d bytes are missing: %d %v", cut, n, err)
		}
	}
	if _, err := bus.EachMessage([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), nil); err == nil {
		t.Error("a length of more than 64 bits")
	}
}

func FuzzEachMessage(f *testing.F) {
	f.Add(bus.AppendMessage(bus.AppendMessage(nil, []byte("a")), nil))
	f.Add([]byte("\x7fshort"))
	f.Fuzz(func(t *testing.T, data []byte) {
		size := 0
		n, err := bus.EachMessage(data, func(m []byte) { size += len(m) + 1 })
		if size > len(data) || err == nil && n > len(data) {
			t.Errorf("%d messages of %d bytes in %d", n, size, len(data))
		}
	})
}

// bare is a Broker without parts.
type bare struct{ published []bus.Publication }

func (b *bare) Start(bus.Inbox) error { return nil }
func (b *bare) Publish(p *bus.Publication) error {
	b.published = append(b.published, *p)
	return nil
}

func (b *bare) PublishAll(ps []bus.Publication) error {
	if len(ps) > 2 {
		return bus.ErrBusy
	}
	b.published = append(b.published, ps...)
	return nil
}
func (b *bare) Barrier(bool, func()) error { return nil }
func (b *bare) Answer(string, bus.Answer)  {}
func (b *bare) Stats() bus.Stats           { return bus.Stats{} }
func (b *bare) Close() error               { return nil }

// full has parts.
type full struct {
	bare
	paused int
}

func (f *full) Tell(string, string, []byte) error    { return nil }
func (f *full) TellAll(string, string, []byte) error { return nil }
func (f *full) AskService(string, string, []byte, time.Duration, func(bus.Answer, error)) error {
	return nil
}
func (f *full) Gather(bus.Query, time.Duration, func([]bus.Answer, bool)) error { return nil }
func (f *full) Pause(context.Context) error                                     { f.paused++; return nil }
func (f *full) Drain(context.Context) error                                     { return nil }
func (f *full) Rejoin(context.Context) error                                    { return nil }
func (f *full) Proceed()                                                        {}
func (f *full) PublishNumbered([]bus.Publication, time.Duration, func([]bus.Numbered, bool)) error {
	return bus.ErrUnavailable
}

func TestPartsThatABrokerHasAreItsOwn(t *testing.T) {
	f := &full{}
	p := bus.PartsOf(f)
	if err := p.Pause(context.Background()); err != nil || f.paused != 1 {
		t.Errorf("pause: %v, %d", err, f.paused)
	}
	if err := p.Tell("x", "", nil); err != nil {
		t.Errorf("tell: %v", err)
	}
	if err := p.PublishNumbered(nil, 0, nil); err != bus.ErrUnavailable {
		t.Errorf("numbered: %v", err)
	}
}

func TestPartsThatABrokerLacksSaySo(t *testing.T) {
	b := &bare{}
	p := bus.PartsOf(b)
	for what, err := range map[string]error{
		"Tell": p.Tell("x", "", nil), "TellAll": p.TellAll("x", "", nil),
		"AskService": p.AskService("x", "", nil, 0, nil), "Gather": p.Gather(bus.Query{}, 0, nil),
	} {
		if !errors.Is(err, bus.ErrNoServices) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx := context.Background()
	if err := errors.Join(p.Pause(ctx), p.Drain(ctx), p.Rejoin(ctx)); err != nil {
		t.Errorf("nothing to pause: %v", err)
	}
	p.Proceed()
	said := make(chan []bus.Numbered, 1)
	done := func(n []bus.Numbered, all bool) {
		if all {
			said <- n
		}
	}
	if err := p.PublishNumbered(make([]bus.Publication, 2), time.Second, done); err != nil || len(<-said) != 2 || len(b.published) != 2 {
		t.Errorf("published without numbers: %v, %d", err, len(b.published))
	}
	if err := p.PublishNumbered(make([]bus.Publication, 3), time.Second, nil); err != bus.ErrBusy {
		t.Errorf("refused: %v", err)
	}
}
