package sequencer

import (
	"slices"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

const day = 24 * time.Hour

// onClock starts a process with a clock that the test moves: it shows what now is.
func onClock(t *testing.T, dir, store string, now *time.Time) *process {
	p := begin(t, dir, store)
	p.env.Now = func() time.Time { return *now }
	p.now()
	return p
}

func (p *process) texts() (list []string) {
	page := p.page(&worker.HistoryQuery{Channel: "room"})
	for _, m := range page.Messages {
		list = append(list, string(m.Data))
	}
	return list
}

func (p *process) wantTexts(when string, want ...string) {
	p.t.Helper()
	if got := p.texts(); !slices.Equal(got, want) {
		p.t.Errorf("%s: %q are kept, want %q", when, got, want)
	}
}

// TestAgeWhateverTheClock: a clock that is set forwards in error, and back, costs no
// message, in the next process neither; one that stays there is believed after a while.
func TestAgeWhateverTheClock(t *testing.T) {
	for _, store := range []string{storeMemory, storeDisk} {
		now, dir := time.Now(), t.TempDir()
		p := onClock(t, dir, store, &now)
		p.say("room", "before")
		now = testkit.Leap(now, 30*day)
		p.say("room", "in error")
		p.tick()
		p.wantTexts("30 days ahead", "before", "in error")
		now = testkit.Leap(now.Add(time.Second), -30*day)
		p.say("room", "after")
		p.tick()
		p.wantTexts("set right", "before", "in error", "after")
		p.Stop()
		p = onClock(t, dir, store, &now)
		p.wantTexts("in the next process", "before", "in error", "after")
		p.Stop()

		p = onClock(t, t.TempDir(), store, &now)
		p.say("room", "before")
		now = testkit.Leap(now.Add(oneMinute-time.Second), -day)
		p.say("room", "after")
		p.wantTexts("a day back", "before", "after")
		now = testkit.Leap(now, day)
		p.wantTexts("set right", "before", "after")
		now = now.Add(settles + oneMinute)
		p.wantTexts("in time")
		p.Stop()

		p = onClock(t, t.TempDir(), store, &now)
		p.say("room", "before")
		now = testkit.Leap(now, time.Hour)
		p.say("room", "after")
		now = now.Add(oneMinute - time.Second)
		p.wantTexts("an hour ahead", "before", "after")
		now = now.Add(2 * time.Second)
		p.wantTexts("an hour ahead, a minute later", "after")
		now = now.Add(settles)
		p.wantTexts("when the clock is believed")
		p.Stop()
	}
}

// TestKeysWhateverTheClock: an idempotency key is known for five minutes, whatever
// the clock is set by meanwhile.
func TestKeysWhateverTheClock(t *testing.T) {
	for _, leap := range []time.Duration{time.Hour, -time.Hour, 30 * day, -day} {
		now := time.Now()
		p := onClock(t, t.TempDir(), storeMemory, &now)
		repeated := func() bool {
			p.Order(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: "room", Data: []byte("x"), Reply: "r",
				Order: &worker.Order{Key: "k"}})
			return p.answers["r"].Repeated
		}
		repeated()
		now = testkit.Leap(now, leap)
		p.tick()
		now = now.Add(5*time.Minute - time.Second)
		if !repeated() {
			t.Errorf("a leap of %v: the key is forgotten before its time", leap)
		}
		now = now.Add(2 * time.Second)
		if repeated() {
			t.Errorf("a leap of %v: the key is known behind its time", leap)
		}
		p.Stop()
	}
}
