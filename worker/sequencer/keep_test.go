package sequencer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/history"
)

// process is a sequencer in a broker process that a test plays.
type process struct {
	*Sequencer
	t       *testing.T
	out     []worker.Publication
	answers map[string]worker.Numbered
	timers  []func()
	log     bytes.Buffer
	busy    int // times that the start said so
}

const oneMinute = time.Minute

// memory is what the processes of a test may use.
var memory = 16 << 20

// begin starts a process on a folder that one before may have left.
func begin(t *testing.T, dir, store string) *process {
	t.Helper()
	return beginWith(t, dir, store, []string{"1"}, channel.Rule{Match: "room*", History: new(100), Age: oneMinute})
}

func beginWith(t *testing.T, dir, store string, apps []string, rules ...channel.Rule) *process {
	t.Helper()
	p := &process{Sequencer: &Sequencer{}, t: t, answers: map[string]worker.Numbered{}}
	env := &worker.ServiceEnv{
		Options: []worker.Options{worker.Options(fmt.Sprintf(`{"memory":%d,"store":%q}`, memory, store))}, DataDir: dir,
		Log:      slog.New(slog.NewTextHandler(&p.log, nil)),
		Channels: rules,
		Apps:     channel.NewApps(apps),
		Publish:  func(ps ...worker.Publication) error { p.out = append(p.out, ps...); return nil },
		Answer: func(reply string, raw []byte) {
			var n worker.Numbered
			if err := json.Unmarshal(raw, &n); err != nil {
				t.Error(err)
			}
			p.answers[reply] = n
		},
		After: func(_ time.Duration, fn func()) { p.timers = append(p.timers, fn) },
		Now:   time.Now,
		Busy:  func() { p.busy++ },
	}
	env.PublishAll = env.Publish
	if err := p.Start(env); err != nil {
		t.Fatal(err)
	}
	return p
}

// tick runs what was to run later.
func (p *process) tick() {
	due := p.timers
	p.timers = nil
	for _, fn := range due {
		fn()
	}
}

// ticks does so until what is written anew is there and the rest has gone.
func (p *process) ticks() {
	d := p.store.(*diskStore)
	for n := 0; n < 10 || d.walk != nil || len(d.folder.old) > 0; n++ {
		p.tick()
	}
}

// folder is that of a process that uses the disk.
func (p *process) folder() *folder { return &p.store.(*diskStore).folder }

func (p *process) say(name, text string) history.Position {
	p.Order(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: name, Data: []byte(text), Reply: "r"})
	return p.answers["r"].Position
}

// reads returns what follows a position: the texts, or the reason.
func (p *process) reads(name string, after history.Position) string {
	page := p.page(&worker.HistoryQuery{Channel: name, After: after})
	if page.Reason != "" {
		return "(" + page.Reason + ")"
	}
	var list []string
	for _, m := range page.Messages {
		list = append(list, string(m.Data))
	}
	return strings.Join(list, " ")
}

func (p *process) want(name string, after history.Position, want string) {
	p.t.Helper()
	if got := p.reads(name, after); got != want {
		p.t.Errorf("after %v: %q, want %q\n%s", after, got, want, p.log.String())
	}
}

func TestMemoryOutlivesAnOrderlyEnd(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, dir, storeMemory)
	at := a.say("room", "one")
	a.Order(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: "room", Data: []byte("two"), Reply: "k", Order: &worker.Order{Key: "key"}})
	a.Stop()
	b := begin(t, dir, storeMemory)
	b.want("room", at, "two")
	b.Order(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: "room", Data: []byte("two"), Reply: "k", Order: &worker.Order{Key: "key"}})
	if n := b.answers["k"]; !n.Repeated || n.Position != a.answers["k"].Position || len(b.out) != 0 {
		t.Errorf("a key of before: %+v, %d published", n, len(b.out))
	}
	if next := b.say("room", "three"); next != (history.Position{Epoch: at.Epoch, Offset: 3}) {
		t.Errorf("numbered %v", next)
	}
	if st := b.out[0].Stamp; st.Prev != 2 || st.Before != 2 {
		t.Errorf("its place is %+v", st)
	}
	b.Stop()
	c := begin(t, dir, storeMemory) // ends without a word, before it has numbered anything
	c.want("room", at, "two three")
	d := begin(t, dir, storeMemory)
	d.want("room", at, "two three")
	d.say("room", "four") // and this one then
	e := begin(t, dir, storeMemory)
	e.want("room", at, "(epoch)")
}

// TestLeavingIsWork: who writes a large history at its end says that it gets on.
func TestLeavingIsWork(t *testing.T) {
	for _, store := range []string{storeMemory, storeDisk} {
		p := begin(t, t.TempDir(), store)
		for i := range 300 {
			p.say(fmt.Sprint("room", i), strings.Repeat("x", 8000))
		}
		p.purge(&worker.HistoryPurge{Channel: "room0"})
		if d, ok := p.store.(*diskStore); ok {
			d.purged = true // all is written anew
		}
		p.busy = 0
		if p.Stop(); p.busy < 3 {
			t.Errorf("%s: the master has heard of its work %d times", store, p.busy)
		}
	}
}

func TestDiskOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, dir, storeDisk)
	at := a.say("room", "one")
	for i := range 300 {
		a.say(fmt.Sprint("room", i), strings.Repeat("x", 8000)) // several segments
	}
	a.say("room", "two")
	b := begin(t, dir, storeDisk)
	b.want("room", at, "two")
	if b.busy < 3 {
		t.Errorf("the master has heard of its work %d times", b.busy)
	}
	b.say("room", "three")
	c := begin(t, dir, storeDisk)
	c.want("room", at, "two three")
	if st := c.rings.Now(""); st.Offset != 303 || st.Epoch != at.Epoch {
		t.Errorf("at %v", st)
	}
	c.Stop()
	state := filepath.Join(dir, folderName, stateName)
	other := bytes.Replace(read1(t, state), []byte(bootID()), []byte("another"), 1)
	write1(t, state, other)
	d := begin(t, dir, storeDisk) // after an orderly end of the machine
	d.want("room", at, "two three")
	d.say("room", "four")
	write1(t, state, bytes.Replace(read1(t, state), []byte(bootID()), []byte("another"), 1))
	e := begin(t, dir, storeDisk) // and after an unorderly one
	e.want("room", at, "(epoch)")
	if !strings.Contains(e.log.String(), "unorderly") {
		t.Errorf("log: %s", e.log.String())
	}
}

func read1(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write1(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSpoiltSegments: what is cut off or changed on the disk shows, and then
// nothing of it counts. Half a frame at the end was never published.
func TestSpoiltSegments(t *testing.T) {
	for name, spoil := range map[string]struct {
		how  func(b []byte) []byte
		want string
	}{
		"untouched": {func(b []byte) []byte { return b }, "two three"},
		"half":      {func(b []byte) []byte { return append(b, 0, 0, 0, 9, 1, 2) }, "two three"},
		"cut":       {func(b []byte) []byte { return b[:len(b)-1] }, "(epoch)"},
		"changed":   {func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "(epoch)"},
		"empty":     {func(b []byte) []byte { return nil }, "(epoch)"},
		"a frame": {func(b []byte) []byte {
			l := history.NewLoader(history.New(history.Options{Keep: keeping(nil), Draw: func(string) history.Epoch { return 1 }}))
			for n := len(b) - 1; n > 0; n-- {
				if l.Frames(b[:n]) == n {
					return b[:n]
				}
			}
			return nil
		}, "(epoch)"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := begin(t, dir, storeDisk)
			at := a.say("room", "one")
			a.say("room", "two")
			a.say("room", "three")
			segment := a.folder().segmentName(a.folder().state.Generation, 0)
			write1(t, segment, spoil.how(read1(t, segment)))
			b := begin(t, dir, storeDisk)
			b.want("room", at, spoil.want)
			b.say("room", "four")
			c := begin(t, dir, storeDisk) // whatever was there, it goes on from here
			if name == "untouched" || name == "half" {
				c.want("room", at, "two three four")
			} else if page := c.page(&worker.HistoryQuery{Channel: "room"}); len(page.Messages) != 1 || page.Now.Epoch == at.Epoch {
				t.Errorf("%+v", page)
			}
		})
	}
}

// TestFullDisk: messages go on, it is said, and nothing that is missing on the
// disk is taken for all by the next process.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, dir, storeDisk)
	at := a.say("room", "one")
	f := a.folder()
	if err := os.Symlink("/dev/full", f.segmentName(f.state.Generation, f.next)); err != nil {
		t.Fatal(err)
	}
	f.closeSegment() // the next message opens another one
	a.say("room", "two")
	a.say("room", "three")
	a.want("room", at, "two three")
	if failed := a.metric("history_disk_failed"); failed != 1 || strings.Count(a.log.String(), "level=ERROR") != 1 {
		t.Errorf("failed %v, log: %s", failed, a.log.String())
	}
	if b := begin(t, dir, storeDisk); b.rings.Now("").Epoch == at.Epoch {
		t.Error("the next process goes on as if nothing was missing")
	}
	a.ticks() // there is room again
	if failed := a.metric("history_disk_failed"); failed != 0 {
		t.Errorf("failed %v, log: %s", failed, a.log.String())
	}
	b := begin(t, dir, storeDisk)
	b.want("room", at, "two three")
}

func (p *process) metric(name string) (n float64) {
	p.Metrics(func(m worker.Metric) {
		if m.Name == name {
			n = m.Number
		}
	})
	return n
}

// TestDiskIsBounded: what is not kept any more goes from the disk, and what was
// purged goes soon.
func TestDiskIsBounded(t *testing.T) {
	memory = 1 << 20
	defer func() { memory = 16 << 20 }()
	dir := t.TempDir()
	a := begin(t, dir, storeDisk)
	for i := range 4000 {
		a.say(fmt.Sprint("room", i%50), strings.Repeat("x", 8000))
	}
	size := 0
	list, _ := filepath.Glob(filepath.Join(dir, folderName, "*"))
	for _, name := range list {
		size += len(read1(t, name))
	}
	if limit := 4<<20 + slack; size > limit || size < 1<<20 {
		t.Errorf("%d bytes in %d files for 1 MiB of memory", size, len(list))
	}
	a.say("room", "a secret")
	a.say("room", "no secret")
	purge := func(offset uint64) {
		raw, _ := json.Marshal(worker.HistoryQuestion{Purge: &worker.HistoryPurge{Channel: "room", Offset: offset}})
		a.Ask("", raw, func(answer []byte, err error) {
			if string(answer) != `{"purged":1}` || err != nil {
				t.Errorf("%s %v", answer, err)
			}
		})
	}
	purge(4001)
	a.ticks()
	list, _ = filepath.Glob(filepath.Join(dir, folderName, "*"))
	for _, name := range list {
		if bytes.Contains(read1(t, name), []byte("a secret")) {
			t.Errorf("%s has it", name)
		}
	}
	begin(t, dir, storeDisk).want("room", history.Position{Epoch: a.rings.Now("").Epoch, Offset: 4000}, "no secret")
	purge(0)
	begin(t, dir, storeDisk).want("room", history.Position{Epoch: a.rings.Now("").Epoch, Offset: 4000}, "(age)")
}

// TestAnswersAreShared: those who want the same get one publication, 1,000 at
// most in each, and no more than so many bytes at a time.
func TestAnswersAreShared(t *testing.T) {
	p := begin(t, "", storeMemory)
	at := p.say("room", "one")
	for i := range 200 {
		p.say(fmt.Sprint("room", i), strings.Repeat("x", 2000))
	}
	p.timers, p.out = nil, nil
	var word []byte
	for i := range 2500 {
		word = history.AppendWant(word, &history.Want{Conn: fmt.Sprint(i), Channel: "room", After: at, Room: 1000})
	}
	word = history.AppendWant(word, &history.Want{Conn: "x", Channel: "room", After: history.Position{Epoch: at.Epoch}, Room: 1000})
	p.Tell("w", word)
	p.Tell("w", append([]byte("J"), 0xff))
	if len(p.out) != 0 || len(p.timers) != 1 {
		t.Fatalf("%d answers at once, %d timers", len(p.out), len(p.timers))
	}
	p.tick()
	conns := 0
	for _, o := range p.out {
		conns += len(o.Conns)
		if o.Kind != worker.KindRecovery || o.Scope != worker.ScopeList || o.Target != "room" || len(o.Conns) > joinConns {
			t.Errorf("%+v", o)
		}
	}
	if len(p.out) != 4 || conns != 2501 {
		t.Errorf("%d answers for %d", len(p.out), conns)
	}
	p.out, word = nil, nil
	for i := range 200 {
		word = history.AppendWant(word, &history.Want{Conn: "c", Channel: fmt.Sprint("room", i), After: at, Room: 10000})
	}
	p.Tell("w", word)
	for rounds := 1; len(p.timers) > 0; rounds++ {
		before := len(p.out)
		p.tick()
		if n := len(p.out) - before; n > joinBytes/2000+1 || n == 0 {
			t.Errorf("%d answers in round %d", n, rounds)
		}
	}
	if len(p.out) != 200 || p.joins.queue != nil || len(p.joins.by) != 0 {
		t.Errorf("%d answers", len(p.out))
	}
}

func TestOrders(t *testing.T) {
	p := begin(t, "", storeMemory)
	say := func(channel string, o *worker.Order) worker.Numbered {
		p.out = nil
		p.Order(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: channel, Data: []byte("x"), Reply: "r", Order: o})
		return p.answers["r"]
	}
	first := say("room", &worker.Order{Key: "a", Version: 5})
	if first.Position.Offset != 1 || len(p.out) != 1 || p.out[0].Reply != "r" || p.out[0].Order != nil {
		t.Errorf("%+v %+v", first, p.out)
	}
	if n := say("room", &worker.Order{Key: "a", Version: 5}); n != (worker.Numbered{Position: first.Position, Repeated: true}) || len(p.out) != 0 {
		t.Errorf("%+v %+v", n, p.out)
	}
	if n := say("room", &worker.Order{Version: 5}); !n.Outdated || len(p.out) != 0 {
		t.Errorf("%+v %+v", n, p.out)
	}
	if n := say("room", &worker.Order{Version: 6}); n.Position.Offset != 2 || len(p.out) != 1 {
		t.Errorf("%+v %+v", n, p.out)
	}
	// A channel without history, and one of an app.
	if n := say("other", &worker.Order{Key: "a"}); n != (worker.Numbered{}) || len(p.out) != 1 || p.out[0].Stamp != nil {
		t.Errorf("%+v %+v", n, p.out)
	}
	if n := say("other", &worker.Order{Key: "a"}); n != (worker.Numbered{Repeated: true}) || len(p.out) != 0 {
		t.Errorf("%+v %+v", n, p.out)
	}
	if err := (&Sequencer{}).Check([]worker.Options{worker.Options(`{"store":"tape"}`)}); err == nil {
		t.Error("a store that there is not")
	}
}
