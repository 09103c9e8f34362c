package sequencer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// playedLog is a log that a test plays.
type playedLog struct {
	worker.SharedLog
	worker.SharedLogOptions
	added []string // texts, which are never answered
	bus   string   // why it is away though it says nothing
}

func (l *playedLog) State() (uint64, string) { return 0, l.bus }
func (*playedLog) Close()                    {}

func (l *playedLog) Append(p *worker.Publication, _ time.Duration, _ func(history.Position, bool, error)) {
	l.added = append(l.added, string(p.Data))
}

// follows starts a process that follows a log.
func follows(t *testing.T, dir string, now func() time.Time) (*process, *playedLog) {
	t.Helper()
	p, log := begin(t, dir, storeMemory), &playedLog{}
	env := *p.env
	env.Options = []worker.Options{worker.Options(`{"memory":1000000,"store":"jetstream"}`)}
	env.OpenLog = func(o worker.SharedLogOptions) (worker.SharedLog, error) {
		log.SharedLogOptions = o
		return log, nil
	}
	env.Now = now
	p.Sequencer, p.timers = &Sequencer{}, nil
	if err := p.Start(&env); err != nil {
		t.Fatal(err)
	}
	return p, log
}

func (l *playedLog) entry(offset int, channel, text string, at time.Time) {
	l.Entry(&worker.LogEntry{Offset: uint64(offset), Time: at.UnixMilli(), Publication: worker.Publication{
		Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: channel, Data: []byte(text),
	}})
}

// told returns what the workers are told: texts of messages, and where the last stand says
// that a channel is.
func (p *process) told(channel string) (texts string, stands uint64) {
	var list []string
	for _, m := range p.out {
		if m.Kind == worker.KindMessage {
			list = append(list, string(m.Data))
			continue
		}
		_ = history.EachStand(m.Data, func(s history.Stand) {
			if s.App == "" {
				stands = s.Shards[uint8(worker.Shard(worker.ScopeChannel, channel))]
			}
		})
	}
	p.out = nil
	return strings.Join(list, " "), stands
}

// TestMetricsOfALogThatIsAway: they say so, also of a bus that is away, and of a service
// that does not get to it; "live" is when nothing is refused.
func TestMetricsOfALogThatIsAway(t *testing.T) {
	p, log := follows(t, t.TempDir(), time.Now)
	away := func(tell func(func(worker.Metric))) (n float64) {
		n = -1
		tell(func(m worker.Metric) {
			if m.Name == "history_away" {
				n = m.Number
			}
		})
		return n
	}
	want := func(what string, n float64) {
		t.Helper()
		if got := away(p.Metrics); got != n {
			t.Errorf("%s: %v", what, got)
		}
	}
	want("not reached", 1)
	log.Begin(worker.LogStart{Epoch: history.Draw(7), Channel: 9, Now: time.Now()})
	log.Live()
	want("live", 0)
	log.bus = "broker is away"
	want("no bus", 1)
	if got := away(p.Absent); got != 1 {
		t.Errorf("not asked in time: %v", got)
	}
	log.bus = ""
	log.Away("no leader")
	want("no leader", 1)
}

// TestWaitsForTheLog: what is published while a process has not reached the log yet goes
// there as soon as it has, and the workers are not told before that it is away.
func TestWaitsForTheLog(t *testing.T) {
	p, log := follows(t, t.TempDir(), time.Now)
	log.Away("not yet")
	p.Roster(nil)
	p.say("room", "1")
	p.say("room", "2")
	if len(log.added) > 0 || len(p.out) > 0 {
		t.Errorf("added %q, told %+v", log.added, p.out)
	}
	log.Begin(worker.LogStart{Epoch: history.Draw(7), Channel: 9, Now: time.Now()})
	log.Live()
	log.Away("")
	p.say("room", "3")
	if want := []string{"1", "2", "3"}; !slices.Equal(log.added, want) {
		t.Errorf("added %q", log.added)
	}

	p, log = follows(t, t.TempDir(), time.Now)
	log.Away("not yet")
	p.say("room", "1")
	p.tick() // that is all the time there is
	if why := p.answers["r"].Failed; !strings.Contains(why, "not yet") || len(log.added) > 0 {
		t.Errorf("answered %q, added %q", why, log.added)
	}
	if len(p.out) != 1 || p.out[0].Kind != worker.KindStand {
		t.Errorf("told %+v", p.out)
	}
}

// TestLostOnTheWay: what went from the log before it was read is told to nobody for
// whole, and what is left comes by asking for it.
func TestLostOnTheWay(t *testing.T) {
	now := time.Now()
	p, log := follows(t, t.TempDir(), time.Now)
	epoch := history.Draw(7)
	log.Begin(worker.LogStart{Epoch: epoch, Channel: 3, Now: now})
	log.Live()
	log.entry(1, "room", "1", now)
	log.entry(2, "room2", "2", now)
	if texts, _ := p.told("room"); texts != "1 2" {
		t.Errorf("told %q", texts)
	}
	log.Lost(worker.LogStart{Epoch: epoch, Last: 8, Channel: 3, Now: now})
	for i, text := range []string{"5", "6", "7"} { // of 3 and 4 is nothing left
		log.entry(5+i, "room", text, now)
	}
	log.entry(8, "room2", "8", now)
	if texts, _ := p.told("room"); texts != "" {
		t.Errorf("told %q before it has caught up", texts)
	}
	log.Live()
	if _, stands := p.told("room"); stands != 7 {
		t.Errorf("it stands at %d", stands)
	}
	after := func(n uint64) history.Position { return history.Position{Epoch: epoch, Offset: n} }
	p.want("room", after(1), "(size)")
	p.want("room", after(4), "5 6 7")
	p.want("room2", after(2), "8")
	log.entry(9, "room", "9", now)
	if texts, _ := p.told("room"); texts != "9" {
		t.Errorf("told %q", texts)
	}

	log.Lost(worker.LogStart{Epoch: epoch, Last: 12, Forgotten: 11, Channel: 3, Now: now}) // by age
	log.Live()
	if _, stands := p.told("room2"); stands != 11 {
		t.Errorf("a channel of which perhaps something was lost stands at %d", stands)
	}
	p.want("room2", after(8), "(age)")
	p.want("room2", after(12), "")
}

// TestWhereTheLogWas: before the workers are told where the log is they are told where it
// was when they began to wait for it: who has become a member in one that knew of no place
// has the rest from there.
func TestWhereTheLogWas(t *testing.T) {
	epoch, oldEpoch := history.Draw(7), history.Draw(6)
	now := time.Now()
	clock := func() time.Time { return now }
	begin := func(log *playedLog, epoch history.Epoch, last int) {
		log.Begin(worker.LogStart{Epoch: epoch, Last: uint64(last), Channel: 9, Now: now})
	}
	load := func(log *playedLog, ages ...time.Duration) {
		for i, age := range ages {
			log.entry(i+1, "room", fmt.Sprint(i+1), now.Add(-age))
		}
		log.Live()
	}
	first := func(t *testing.T, dir string) (*process, *playedLog) { // that reads for a second
		p, log := follows(t, dir, clock)
		now = now.Add(time.Second)
		begin(log, epoch, 3)
		return p, log
	}
	const sec = time.Second
	for _, v := range []struct {
		name string
		play func(t *testing.T) *process
		want []string
	}{
		{"a new node", func(t *testing.T) *process {
			p, log := first(t, t.TempDir())
			load(log, 2*sec, sec/2, 0)
			return p
		}, []string{"1 of 1", "3 of 3"}},
		{"nothing has come since", func(t *testing.T) *process {
			p, log := first(t, t.TempDir())
			load(log, 4*sec, 3*sec, 2*sec)
			return p
		}, []string{"3 of 3"}},
		{"the process before had not read it all", func(t *testing.T) *process {
			dir := t.TempDir()
			p, _ := first(t, dir)
			p.Stop()
			p, log := first(t, dir)
			load(log, 3*sec, 2*sec, 0)
			return p
		}, []string{"1 of 1", "3 of 3"}},
		{"the process before has left long ago", func(t *testing.T) *process {
			dir := t.TempDir()
			p, _ := first(t, dir)
			p.Stop()
			now = now.Add(time.Hour)
			p, log := first(t, dir)
			load(log, time.Hour, 15*sec, 2*sec)
			return p
		}, []string{"2 of 2", "3 of 3"}},
		{"it is read again", func(t *testing.T) *process {
			p, log := first(t, t.TempDir())
			load(log, 4*sec, 3*sec)
			p.out = nil
			begin(log, epoch, 3)
			load(log, 4*sec, 3*sec, 2*sec)
			return p
		}, []string{"2 of 3", "3 of 3"}},
		{"some was lost", func(t *testing.T) *process {
			p, log := first(t, t.TempDir())
			load(log, 4*sec)
			p.out = nil
			log.Lost(worker.LogStart{Epoch: epoch, Last: 3, Channel: 9, Now: now})
			log.entry(3, "room", "3", now)
			log.Live()
			return p
		}, []string{"1 of 3", "3 of 3"}},
		{"it begins anew", func(t *testing.T) *process {
			p, log := follows(t, t.TempDir(), clock)
			begin(log, oldEpoch, 0)
			log.Live()
			p.out = nil
			begin(log, epoch, 3)
			load(log, 0, 0, 0)
			return p
		}, []string{"0 of 0", "3 of 3"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			if got := v.play(t).stands("room"); !slices.Equal(got, v.want) {
				t.Errorf("told to stand at %q, want %q", got, v.want)
			}
		})
	}
}

// stands returns where a channel was and is, as the workers are told.
func (p *process) stands(channel string) (list []string) {
	for _, m := range p.out {
		_ = history.EachStand(m.Data, func(s history.Stand) {
			if s.App == "" && s.Epoch != 0 {
				list = append(list, fmt.Sprint(s.Shards[uint8(worker.Shard(worker.ScopeChannel, channel))], " of ", s.Offset))
			}
		})
	}
	return list
}

// TestPassesOnce: messages of a channel that has a history on other nodes alone reach this
// node's clients once, also those that come while a process follows another in order.
func TestPassesOnce(t *testing.T) {
	dir, now, epoch := t.TempDir(), time.Now(), history.Draw(7)
	next := func(last int) (*process, *playedLog) {
		p, log := follows(t, dir, time.Now)
		log.Begin(worker.LogStart{Epoch: epoch, Last: uint64(last), Channel: 9, Now: now})
		for n := 1; n <= last; n++ {
			log.entry(n, "plain", fmt.Sprint(n), now)
		}
		log.Live()
		return p, log
	}
	want := func(p *process, want string) {
		t.Helper()
		if texts, _ := p.told("plain"); texts != want {
			t.Errorf("told %q, want %q", texts, want)
		}
	}
	p, log := next(2)
	want(p, "") // a new node
	log.entry(3, "plain", "3", now)
	want(p, "3")
	p.Stop()
	p, _ = next(5)
	want(p, "4 5")
	p.Stop()
	p, _ = next(5)
	want(p, "")
	p, log = next(6) // after one that was killed
	want(p, "")
	log.entry(7, "plain", "7", now)
	want(p, "7")
	p.Stop()
}

// TestSwitchedOn: a process gives a history to channels in which clients are who have no
// position to come back with. What nobody has published here reaches them all the same.
func TestSwitchedOn(t *testing.T) {
	dir, now, epoch := t.TempDir(), time.Now(), history.Draw(7)
	p, _ := follows(t, dir, time.Now)
	p.writeRules(&rulesNote{Rules: map[string]string{"": "none"}, Epoch: epoch, Read: 2})
	p, log := follows(t, dir, time.Now)
	log.Begin(worker.LogStart{Epoch: epoch, Last: 4, Channel: 9, Now: now})
	for n := range 4 {
		log.entry(n+1, "room", fmt.Sprint(n+1), now)
	}
	if texts, _ := p.told("room"); texts != "3 4" {
		t.Errorf("told %q", texts)
	}
	log.Live()
	log.entry(5, "room", "5", now)
	if texts, _ := p.told("room"); texts != "5" {
		t.Errorf("told %q", texts)
	}
	p.want("room", history.Position{Epoch: epoch, Offset: 3}, "(age)")
}

// TestStrayIsDoubted: after a message without a position nobody is told that he has missed
// nothing, by the next process neither.
func TestStrayIsDoubted(t *testing.T) {
	dir, now, epoch := t.TempDir(), time.Now(), history.Draw(7)
	after := func(n uint64) history.Position { return history.Position{Epoch: epoch, Offset: n} }
	p, log := follows(t, dir, time.Now)
	log.Begin(worker.LogStart{Epoch: epoch, Channel: 9, Now: now})
	log.Live()
	log.entry(1, "room", "1", now)
	log.entry(2, "room2", "2", now)
	p.want("room", after(2), "")
	p.Tell("w", history.AppendWant(nil, &history.Want{Channel: "room"}))
	p.want("room", after(2), "(age)")
	p.want("room2", after(2), "")
	log.entry(3, "room", "3", now)
	p.early(after(3)) // it may have come from another node, on which the message was later
	p.want("room", after(3), "(age)")
	p.tick()
	log.entry(4, "room", "4", now)
	p.early(after(4))
	p.want("room", after(4), "")
	p.Stop()
	p, log = follows(t, dir, time.Now)
	log.Begin(worker.LogStart{Epoch: epoch, Last: 4, Channel: 9, Now: now})
	log.Live()
	p.want("room", after(3), "(age)")
	p.want("room", after(4), "")
}

// TestPagesGoOn: a place in what is kept leads to what is kept behind it, also where who
// says that he has all up to it is told that he has not; and it has to be reached here.
func TestPagesGoOn(t *testing.T) {
	dir, now, epoch := t.TempDir(), time.Now(), history.Draw(7)
	p, _ := follows(t, dir, func() time.Time { return now })
	p.writeRules(&rulesNote{Rules: map[string]string{"": "none"}, Epoch: epoch})
	p, log := follows(t, dir, func() time.Time { return now })
	log.Begin(worker.LogStart{Epoch: epoch, Last: 4, Channel: 9, Now: now})
	for n := range 4 {
		log.entry(n+1, "room", fmt.Sprint(n+1), now)
	}
	log.Live()
	at := func(epoch history.Epoch, offset uint64) history.Position {
		return history.Position{Epoch: epoch, Offset: offset}
	}
	for _, v := range []struct {
		name string
		q    worker.HistoryQuery
		want string
	}{
		{"the first page", worker.HistoryQuery{Limit: 2}, "1 2 more"},
		{"who has all up to there", worker.HistoryQuery{After: at(epoch, 2)}, "age"},
		{"the page behind", worker.HistoryQuery{After: at(epoch, 2), Kept: true}, "3 4"},
		{"the last one", worker.HistoryQuery{After: at(epoch, 4), Kept: true}, ""},
		{"of a channel without", worker.HistoryQuery{Channel: "plain", After: at(epoch, 2), Kept: true}, "off"},
		{"the newest first", worker.HistoryQuery{Newest: true, Before: 4, Limit: 2}, "3 2 more"},
		{"that another node has given", worker.HistoryQuery{Newest: true, Before: 7, Limit: 3}, "6 5 4 more"},
		{"a place that another has given", worker.HistoryQuery{After: at(epoch, 7), Kept: true}, ""},
		{"that nobody has", worker.HistoryQuery{After: at(epoch, 20), Kept: true}, "future"},
		{"of another epoch", worker.HistoryQuery{After: at(history.Draw(8), 2), Kept: true}, "epoch"},
	} {
		if v.q.Channel == "" {
			v.q.Channel = "room"
		}
		var page *worker.HistoryPage
		p.store.read(&v.q, func(raw []byte, err error) {
			if err != nil || json.Unmarshal(raw, &page) != nil {
				t.Errorf("%s: %s %v", v.name, raw, err)
			}
		})
		for last := p.rings.Now("").Offset; page == nil; last++ {
			if log.entry(int(last)+1, "room", fmt.Sprint(last+1), now); last > 10 {
				now = now.Add(askWait)
			}
			p.tick()
		}
		var got []string
		for _, m := range page.Messages {
			got = append(got, string(m.Data))
		}
		if page.More {
			got = append(got, "more")
		}
		if page.Reason != "" {
			got = append(got, page.Reason)
		}
		if strings.Join(got, " ") != v.want {
			t.Errorf("%s: %q, want %q", v.name, got, v.want)
		}
	}
}

// TestWhoIsAhead: who comes from a node that has read more, or follows a new log already,
// is kept back, and nobody else.
func TestWhoIsAhead(t *testing.T) {
	now, one, two, three := time.Now(), history.Draw(1), history.Draw(2), history.Draw(3)
	p, log := follows(t, t.TempDir(), time.Now)
	want := func(epoch history.Epoch, offset uint64, ahead bool) {
		t.Helper()
		at := history.Position{Epoch: epoch, Offset: offset}
		if got := p.store.early(history.Want{Conn: "c", Channel: "room", After: at}); got != ahead {
			t.Errorf("%v is kept back: %v, want %v", at, got, ahead)
		}
	}
	log.Begin(worker.LogStart{Epoch: one, Channel: 9, Now: now})
	log.Live()
	log.entry(1, "room", "1", now)
	want(one, 1, false)
	want(one, 2, true)
	want(two, 1, true)
	want(history.Stranger, 1, false)
	want(0, 0, false)
	log.Begin(worker.LogStart{Epoch: two, Channel: 9, Now: now})
	log.Begin(worker.LogStart{Epoch: two, Channel: 9, Now: now}) // read again
	log.Live()
	want(two, 0, false)
	want(one, 2, false) // of the log before
	want(three, 1, true)
}

// TestAheadWhileTheLogIsAway: nobody is told that a position was never given while the
// entries that follow cannot be read; and everybody when they can and it has not come.
func TestAheadWhileTheLogIsAway(t *testing.T) {
	now, epoch := time.Now(), history.Draw(1)
	p, log := follows(t, t.TempDir(), func() time.Time { return now })
	log.Begin(worker.LogStart{Epoch: epoch, Channel: 9, Now: now})
	log.Live()
	log.Away("no leader")
	waits := func(want int) {
		t.Helper()
		now = now.Add(2 * aheadWait)
		p.tick()
		if n := len(p.store.(*sharedStore).waiting); n != want {
			t.Errorf("%d wait, want %d", n, want)
		}
	}
	read := func() (reason string) {
		t.Helper()
		p.store.read(&worker.HistoryQuery{Channel: "room", After: history.Position{Epoch: epoch, Offset: 2}}, func(raw []byte, err error) {
			var page worker.HistoryPage
			if reason = "unavailable"; err == nil {
				_ = json.Unmarshal(raw, &page)
				reason = page.Reason
			}
		})
		now = now.Add(aheadWait)
		p.tick()
		return reason
	}
	p.early(history.Position{Epoch: epoch, Offset: 1})
	p.early(history.Position{Epoch: epoch, Offset: 2})
	waits(2)
	if got := read(); got != "unavailable" {
		t.Errorf("who reads while it is away: %q", got)
	}
	log.Away("")
	log.entry(1, "room", "1", now)
	p.tick()
	if n := len(p.store.(*sharedStore).waiting); n != 1 {
		t.Errorf("%d wait when one's position has come", n)
	}
	waits(0)
	if got := read(); got != "future" {
		t.Errorf("who reads when it is back: %q", got)
	}
}

// early has somebody come to the room.
func (p *process) early(at history.Position) {
	p.store.early(history.Want{Conn: "c", Channel: "room", After: at})
}

// TestTheClockOfTheLog: how old a message is says the clock that has stamped it, and takes it
// away; that of this machine may be hours apart.
func TestTheClockOfTheLog(t *testing.T) {
	for _, apart := range []time.Duration{-time.Hour, 0, time.Hour} {
		now := time.Now()
		p, log := follows(t, t.TempDir(), func() time.Time { return now.Add(apart) })
		epoch := history.Draw(7)
		log.Begin(worker.LogStart{Epoch: epoch, Channel: 100, Now: now})
		log.Live()
		before := history.Position{Epoch: epoch}
		for i, age := range []time.Duration{2 * oneMinute, oneMinute / 2} {
			log.entry(i+1, "room", age.String(), now.Add(-age))
		}
		p.tick()
		p.want("room", before, "(age)")
		before.Offset = 1
		p.want("room", before, "30s")

		stamp := now.Add(settles + time.Second)
		now = testkit.Leap(now, time.Hour) // this machine's is set, and believed
		p.tick()
		now = now.Add(settles + time.Second)
		log.entry(3, "room", "now", stamp)
		p.tick()
		before.Offset = 2
		p.want("room", before, "now")
		p.Stop()
	}
}
