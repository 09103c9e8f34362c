package sequencer

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// keeper is what becomes of the history between two processes. With the store
// "memory" it is written when the service stops, and what the next one has read
// is removed before that numbers anything. With "disk" each message is written
// before it is published.
type keeper struct {
	folder folder
	boot   string
	disk   bool
	off    bool // there is no data_dir
	broken bool // the disk takes nothing: served from memory, and begun anew by the next process
	buf    []byte
	dirty  bool // a purge is to be made good for on the disk
}

const (
	tryAgain   = 30 * time.Second // when the disk takes nothing
	purgePause = time.Second      // from a purge until what was purged is gone from the disk
	slack      = 8 << 20          // bytes on the disk beyond twice what is kept
)

// open reads what the process before has left. It returns the store to use.
func (s *Sequencer) open(fresh func() *history.Store, disk bool) {
	k := &s.keep
	k.disk, k.off = disk, s.env.DataDir == ""
	s.store = fresh()
	if k.off {
		return
	}
	k.boot = bootID()
	k.folder.dir = filepath.Join(s.env.DataDir, folderName)
	err := k.folder.load(s.store, k.boot)
	if err == nil {
		s.env.Log.Debug("history taken over", "messages", s.store.Counts().Messages)
		s.remember()
		return
	}
	s.store = fresh() // what was read of it is not whole
	if !errors.Is(err, fs.ErrNotExist) {
		s.env.Log.Warn("history begins empty, with new epochs", "error", err)
		if err := k.folder.clear(); err != nil {
			s.env.Log.Error("what is left of the history before cannot be removed", "error", err)
		}
	}
}

// remember takes from the store where each shard stands.
func (s *Sequencer) remember() {
	s.store.Each(func(app, name string, last uint64) {
		at := &s.shardsOf(app)[worker.Shard(worker.ScopeChannel, name)]
		*at = max(*at, last)
	})
}

// ready is called before the first message is numbered on top of what was read.
func (s *Sequencer) ready() {
	k := &s.keep
	if s.begun || k.off {
		return
	}
	s.begun = true
	if !k.disk {
		if err := k.folder.clear(); err != nil {
			s.env.Log.Error("the history that was taken over cannot be removed: a process that is killed may leave it to the next one", "error", err)
		}
		return
	}
	s.rewrite()
}

// rewrite writes all that is kept anew, and says that the rest counts for
// nothing.
func (s *Sequencer) rewrite() {
	k := &s.keep
	f := &k.folder
	k.dirty = false
	err := f.begin()
	if err == nil {
		err = s.store.Save(segmentSize/4, f.append)
	}
	if err == nil {
		err = f.note()
	}
	if err == nil {
		err = f.say(false, k.boot)
	}
	if err != nil {
		s.fail(err)
		return
	}
	if k.broken {
		k.broken = false
		s.env.Log.Info("the history is on the disk again")
	}
	f.rest()
}

// fail goes on without the disk, and makes sure that what is there is not taken
// for all.
func (s *Sequencer) fail(err error) {
	k := &s.keep
	if !k.broken {
		k.broken = true
		s.env.Log.Error("the disk does not take the history: it is served from memory, and is lost with this process", "error", err)
	}
	if err := k.folder.clear(); err != nil {
		s.env.Log.Error("what is on the disk of the history cannot be removed", "error", err)
	}
	s.env.After(tryAgain, func() {
		if k.broken {
			s.rewrite()
		}
	})
}

// journal writes frames to the disk, where the store is there.
func (s *Sequencer) journal(write func(b []byte) []byte) {
	k := &s.keep
	if !k.disk || k.off || k.broken {
		return
	}
	f := &k.folder
	k.buf = write(k.buf[:0])
	err := f.append(k.buf)
	if err == nil {
		err = f.note()
	}
	switch {
	case err != nil:
		s.fail(err)
	case f.total > 2*s.store.Bytes()+slack:
		s.rewrite()
	}
	if cap(k.buf) > 64<<10 { // a rare giant does not stay
		k.buf = nil
	}
}

// purged has what was purged taken from the disk, too.
func (s *Sequencer) purged() {
	if k := &s.keep; k.disk && !k.off && !k.dirty {
		k.dirty = true
		s.env.After(purgePause, func() {
			if k.dirty && !k.broken {
				s.rewrite()
			}
		})
	}
}

// leave leaves the history to the next process.
func (s *Sequencer) leave() {
	k := &s.keep
	f := &k.folder
	defer f.close()
	if k.off || k.broken || s.env.Channels.Ordered() == nil && s.store.Counts().Numbered == 0 {
		return
	}
	if k.disk && (s.begun || f.total > 0) && !k.dirty {
		if err := f.say(true, k.boot); err != nil {
			s.env.Log.Error("the history may begin with new epochs", "error", err)
		}
		return
	}
	if !s.begun { // it is there as it was read, or there is nothing yet
		if f.total > 0 {
			return
		}
	}
	err := f.begin()
	if err == nil {
		err = s.store.Save(segmentSize/4, f.append)
	}
	if err == nil {
		err = f.note()
	}
	if err == nil {
		err = f.say(true, k.boot)
	}
	if err != nil {
		s.env.Log.Error("the history is lost with this process", "error", errors.Join(err, f.clear()))
		return
	}
	f.rest()
}
