package sequencer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/history"
)

// TestNoTurnWritesMuch: whatever is written anew, no message waits for more than a
// piece of it, and nobody for the removal of more than some files.
func TestNoTurnWritesMuch(t *testing.T) {
	memory = 6 << 20
	defer func() { memory = 16 << 20 }()
	const text = 2000
	a := begin(t, t.TempDir(), storeDisk)
	d := a.store.(*diskStore)
	rewritten, most, files := 0, uint64(0), 0
	turn := func(do func()) {
		wrote, old, generation := d.folder.wrote, len(d.folder.old), d.folder.state.Generation
		do()
		most = max(most, d.folder.wrote-wrote)
		files = max(files, old-len(d.folder.old))
		if d.folder.state.Generation != generation {
			rewritten++
		}
	}
	for i := range 20_000 {
		turn(func() { a.say(fmt.Sprint("room", i%700), strings.Repeat("x", text)) })
		if i%20 == 0 {
			due := a.timers
			a.timers = nil
			for _, fn := range due {
				turn(fn)
			}
		}
		if limit := 3*memory + 2*slack; d.folder.total() > limit {
			t.Fatalf("%d bytes on the disk", d.folder.total())
		}
	}
	if limit := uint64(stepBytes + 2*(text+100)); most > limit || most < stepBytes {
		t.Errorf("%d bytes in a turn, want at most %d", most, limit)
	}
	if files > stepFiles || files == 0 {
		t.Errorf("%d files removed in a turn", files)
	}
	if rewritten < 3 {
		t.Errorf("written anew %d times", rewritten)
	}
}

// TestKilledAnywhere: processes end without a word wherever they are, in the
// middle of what is written anew too, and the next one answers as the one before.
func TestKilledAnywhere(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 12))
		dir := t.TempDir()
		a := begin(t, dir, storeDisk)
		a.Roster(nil)
		under := 0
		for range 25 {
			for range r.IntN(60) {
				name := fmt.Sprint("room", r.IntN(4))
				switch r.IntN(12) {
				case 0:
					a.purgeOf(name, r.Uint64N(a.rings.Now("").Offset+1)*r.Uint64N(2))
				case 1:
					a.tick()
				case 2:
					a.store.(*diskStore).rewrite()
				default:
					a.say(name, strings.Repeat(fmt.Sprint(r.IntN(10)), 1+r.IntN(8000)))
				}
			}
			if a.store.(*diskStore).walk != nil {
				under++
			}
			if r.IntN(3) == 0 { // while it wrote
				half(t, a.folder())
			}
			b := begin(t, dir, storeDisk)
			b.Roster(nil)
			same(t, a, b)
			if a = b; t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		if under == 0 {
			t.Error("no process was killed while it wrote anew")
		}
	}
}

func (p *process) purgeOf(name string, offset uint64) {
	raw, _ := json.Marshal(worker.HistoryQuestion{Purge: &worker.HistoryPurge{Channel: name, Offset: offset}})
	p.Ask("", raw, func(_ []byte, err error) {
		if err != nil {
			p.t.Error(err)
		}
	})
}

// half leaves the beginning of a frame behind what a process has written.
func half(t *testing.T, f *folder) {
	t.Helper()
	file, err := os.OpenFile(f.segmentName(f.state.Generation, max(f.next-1, 0)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write([]byte{0, 0, 0, 9, 1, 2}); err != nil {
		t.Fatal(err)
	}
}

// same compares what two processes answer.
func same(t *testing.T, a, b *process) {
	t.Helper()
	now := a.rings.Now("")
	if b.rings.Now("") != now {
		t.Fatalf("at %v, was at %v", b.rings.Now(""), now)
	}
	for room := range 5 {
		name := fmt.Sprint("room", room)
		for offset := uint64(0); offset <= now.Offset; offset += 1 + now.Offset/10 {
			at := history.Position{Epoch: now.Epoch, Offset: offset}
			if was, is := a.reads(name, at), b.reads(name, at); was != is {
				t.Errorf("%s after %v: %.60q, was %.60q\n%s", name, at, is, was, b.log.String())
			}
		}
	}
}

// TestFullDiskWhileWrittenAnew: what is there by then counts for nothing.
func TestFullDiskWhileWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, dir, storeDisk)
	at := a.say("room", "one")
	for i := range 90 {
		a.say("room", strings.Repeat("x", 20_000))
		a.say(fmt.Sprint("room", i), strings.Repeat("x", 20_000))
	}
	d := a.store.(*diskStore)
	d.rewrite()
	d.step()
	if err := os.Symlink("/dev/full", d.folder.segmentName(d.folder.state.Generation, d.folder.next)); err != nil {
		t.Fatal(err)
	}
	d.finish()
	a.say("room", "two")
	if failed := a.metric("history_disk_failed"); failed != 1 {
		t.Errorf("failed %v", failed)
	}
	if b := begin(t, dir, storeDisk); b.rings.Now("").Epoch == at.Epoch {
		t.Error("the next process goes on as if nothing was missing")
	}
	a.tick() // there is room again: written anew, of which a part is no more than that
	a.say("room", "three")
	a.tick()
	a.tick()
	if d.walk == nil {
		t.Fatal("it is not written anew")
	}
	if b := begin(t, dir, storeDisk); b.rings.Now("").Epoch == at.Epoch {
		t.Error("a part is taken for all")
	}
	a.ticks()
	c := begin(t, dir, storeDisk)
	c.want("room", history.Position{Epoch: at.Epoch, Offset: 181}, "two three")
	list, _ := filepath.Glob(filepath.Join(dir, folderName, "*"+segmentEnd))
	for _, name := range list {
		if number(name) != d.folder.state.Generation {
			t.Errorf("%s is left", name)
		}
	}
}

// TestHistorySwitchedOffAndOn: what was published meanwhile has no number, so nobody
// who was there before is told that he has missed nothing; not in a channel that
// never had a message either. Channels of another app are not concerned.
func TestHistorySwitchedOffAndOn(t *testing.T) {
	on := []channel.Rule{{Match: "other*", History: new(100)}, {Match: "room*", History: new(100)}, {Match: "*", App: "1", History: new(5)}}
	off := []channel.Rule{on[0], on[2]}
	for _, store := range []string{storeMemory, storeDisk} {
		t.Run(store, func(t *testing.T) {
			dir := t.TempDir()
			process := func(rules []channel.Rule) *process {
				p := beginWith(t, dir, store, []string{"1"}, rules...)
				if store == storeDisk { // killed while it gets ready, and begun again
					if err := p.store.(*diskStore).goOn(); err != nil {
						t.Fatal(err)
					}
					p = beginWith(t, dir, store, []string{"1"}, rules...)
				}
				p.Roster(nil)
				return p
			}
			a := process(on)
			at := a.say("room", "one")
			a.say("other", "x")
			last := a.say("1:room", "of an app")
			a.Stop()
			b := process(off)
			b.want("room", at, "(off)")
			b.want("other", at, "x")
			b.Stop()
			c := process(on)
			end := history.Position{Epoch: at.Epoch, Offset: 2}
			for _, name := range []string{"room", "room that never had a message"} {
				c.want(name, at, "(age)")
				c.want(name, end, "(age)")
			}
			c.want("other", at, "x")
			c.want("other", end, "")
			c.want("1:room", last, "")
			c.want("1:quiet", last, "")
			next := c.say("room", "two")
			c.want("room", end, "(age)")
			c.Stop()
			d := beginWith(t, dir, store, []string{"1", "2"}, append(channel.CacheRules([]string{"2"}), on...)...) // one more app
			d.Roster(nil)
			d.want("room", next, "")
			d.want("quiet", next, "(off)")
			d.want("room that never had a message", next, "")
			e := beginWith(t, dir, store, []string{"1", "2"}, append(channel.CacheRules([]string{"2"}), on...)...)
			e.Roster(nil)
			e.want("room that never had a message", next, map[string]string{storeMemory: "(epoch)"}[store])
		})
	}
}

// TestSegmentsWithoutState: what is left of a folder whose state was removed belongs
// to nobody.
func TestSegmentsWithoutState(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, dir, storeDisk)
	for i := range 400 {
		a.say("room", strings.Repeat("x", 8000)) // several segments
		a.say(fmt.Sprint("room", i), "y")
	}
	if err := os.Remove(filepath.Join(dir, folderName, stateName)); err != nil {
		t.Fatal(err)
	}
	b := begin(t, dir, storeDisk)
	at := b.say("room", "one")
	b.say("room", "two")
	c := begin(t, dir, storeDisk)
	c.want("room", at, "two")
	c.want("room", history.Position{Epoch: at.Epoch}, "one two")
	c.want("room7", history.Position{Epoch: at.Epoch}, "")
}

// TestCopiedFolder: who copies a history may have two that go on with it.
func TestCopiedFolder(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	a := begin(t, dir, storeDisk)
	at := a.say("room", "one")
	a.Stop()
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	begin(t, other, storeDisk).want("room", at, "(epoch)")
	moved := filepath.Join(other, "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	begin(t, moved, storeDisk).want("room", at, "")
}

// TestOtherStoreMeanwhile: what was left before a history was kept elsewhere is no
// history to go on with.
func TestOtherStoreMeanwhile(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, dir, storeDisk)
	at := a.say("room", "one")
	a.Stop()
	s := &Sequencer{}
	env := *a.env
	env.Options = []worker.Options{worker.Options(`{"memory":1000000,"store":"jetstream"}`)}
	env.OpenLog = func(worker.SharedLogOptions) (worker.SharedLog, error) { return nil, nil }
	if err := s.Start(&env); err != nil {
		t.Fatal(err)
	}
	begin(t, dir, storeDisk).want("room", at, "(epoch)")
}
