package sequencer

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// diskStore writes each message before it is published. What is kept is written
// anew, as the next generation, when much of what is on the disk is not kept any
// more, or was purged: a piece at a time, so that messages wait for no more than
// a piece. Both generations count until the new one has all.
type diskStore struct {
	*memoryStore
	walk   *history.Walk // writes anew; nil = that is not under way
	since  int           // bytes of messages since the last step
	broken bool          // what is on the disk is not all
	buf    []byte
}

const (
	tryAgain   = 30 * time.Second // when the disk takes nothing
	purgePause = time.Second      // from a purge until what was purged begins to go from the disk
	slack      = 8 << 20          // bytes on the disk beyond twice what is kept
	stepBytes  = 256 << 10        // of a piece
)

func (d *diskStore) disk() diskCounts {
	return diskCounts{d.folder.total(), d.folder.wrote, d.broken}
}

func (d *diskStore) says() string {
	if d.broken {
		return "the disk does not take the history: a broker process that is killed takes it along"
	}
	return ""
}

// ready goes on behind what was read.
func (d *diskStore) ready() {
	if d.begun {
		return
	}
	d.begun = true
	if err := d.goOn(); err != nil {
		d.fail(err)
		return
	}
	d.folder.sort()
	d.tidy()
	switch {
	case d.doubt:
		d.rewrite()
		d.finish() // before the first message: it makes the difference
	case d.purged || len(d.folder.state.Before) > 0:
		d.rewrite()
	}
}

func (d *diskStore) goOn() error {
	f, rings := &d.folder, d.s.rings
	if !d.loaded {
		if err := f.begin(); err != nil {
			return err
		}
	}
	if !d.doubt {
		f.state.Rules = d.s.rulesNow()
	}
	var frames []byte
	rings.Apps(func(app string) { frames = rings.AppendApp(frames, app) })
	if err := f.append(frames); err != nil {
		return err
	}
	return f.say(false, d.boot, true)
}

// rewrite begins a generation.
func (d *diskStore) rewrite() {
	d.purged = false
	err := d.folder.begin()
	if err == nil && !d.broken {
		err = d.folder.say(false, d.boot, false)
	}
	if err != nil {
		d.fail(err)
		return
	}
	d.walk, d.since = d.s.rings.Walk(), 0
	d.later(d.walk)
}

func (d *diskStore) later(w *history.Walk) {
	d.s.env.After(stepPause, func() {
		if d.walk == w {
			d.step()
			d.later(w)
		}
	})
}

// step writes a piece.
func (d *diskStore) step() {
	var more bool
	d.since = 0
	d.buf, more = d.walk.Next(d.buf[:0], stepBytes)
	err := d.folder.append(d.buf)
	if err == nil && !more {
		d.walk = nil
		d.folder.complete(d.s.rulesNow())
		err = d.folder.say(false, d.boot, false)
	}
	switch {
	case err != nil:
		d.fail(err)
	case !more:
		d.completed()
	}
	d.shrink()
}

func (d *diskStore) completed() {
	if d.broken {
		d.broken = false
		d.s.env.Log.Info("the history is on the disk again")
	}
	d.tidy()
	if d.purged { // and had been copied
		d.rewrite()
	}
}

// finish writes the rest at once.
func (d *diskStore) finish() {
	for d.walk != nil {
		d.step()
		d.folder.busy()
	}
}

// fail goes on without the disk, and makes sure that what is there is not taken
// for all.
func (d *diskStore) fail(err error) {
	d.walk = nil
	if !d.broken {
		d.broken = true
		d.s.env.Log.Error("the disk does not take the history: it is served from memory, and is lost with this process", "error", err)
	}
	d.clear("what is on the disk of the history cannot be removed")
	d.tidy()
	d.s.env.After(tryAgain, func() {
		if d.broken && d.walk == nil {
			d.rewrite()
		}
	})
}

// note writes frames. For every so many bytes of them it goes a step on with what is
// under way, so that the disk is bounded however busy this process is.
func (d *diskStore) note(frames func(b []byte) []byte) {
	if d.broken && d.walk == nil {
		return
	}
	d.buf = frames(d.buf[:0])
	if err := d.folder.append(d.buf); err != nil {
		d.fail(err)
		return
	}
	d.since += len(d.buf)
	d.shrink()
	switch {
	case d.walk == nil && d.folder.total() > 2*d.s.rings.Bytes()+slack:
		d.rewrite()
	case d.since < stepBytes:
	case d.walk != nil:
		d.step()
	default:
		d.since = 0
		d.folder.tidy(stepFiles)
	}
}

// shrink gives back what a rare giant took.
func (d *diskStore) shrink() {
	if cap(d.buf) > 2*stepBytes {
		d.buf = nil
	}
}

// purge has what was purged taken from the disk, too.
func (d *diskStore) purge(q *worker.HistoryPurge, answer func([]byte, error)) {
	n := d.s.purge(q)
	answer(json.Marshal(worker.HistoryPurged{Purged: n}))
	if n > 0 && !d.purged {
		d.purged = true
		d.s.env.After(purgePause, func() {
			if d.purged && !d.broken && d.walk == nil {
				d.rewrite()
			}
		})
	}
}

func (d *diskStore) leave() {
	f, s := &d.folder, d.s
	defer f.close()
	if !d.begun && !d.loaded {
		return
	}
	switch {
	case d.purged && d.begun && d.walk == nil && !d.broken:
		d.rewrite()
		d.finish()
	case d.purged || d.broken:
		d.finish()
	}
	if d.broken {
		return
	}
	f.tidy(len(f.old))
	if err := f.say(true, d.boot, true); err != nil {
		s.env.Log.Error("the history may begin with new epochs", "error", errors.Join(err, f.clear()))
	}
}
