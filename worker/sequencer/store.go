package sequencer

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// A store is what [history] store names: who gives messages their order, and what
// is left of them when the process ends. The rings in memory, from which all is
// read, are the same whatever it is.
//
//	memory  this service; the next process gets them if this one ends in order
//	disk    this service; each message is written before it is published
//	shared  a log of all nodes, which each follows ("jetstream")
type store interface {
	// open fills Sequencer.rings with what there is.
	open(o options) error
	// ready is called before the first message is numbered, more than once.
	ready()
	// add has a message of a channel with history numbered and published.
	add(p *worker.Publication)
	// note writes frames of what has changed.
	note(frames func(b []byte) []byte)
	// early keeps back who comes with a position that is not reached, and reports
	// whether it does.
	early(w history.Want) bool
	// stray notes that a message without a position has come in a channel.
	stray(channel string)
	read(q *worker.HistoryQuery, answer func([]byte, error))
	purge(q *worker.HistoryPurge, answer func([]byte, error))
	// away reports whether nothing can be numbered now.
	away() bool
	// refuses reports whether a message that comes now is refused, also where nobody can
	// be told so.
	refuses() bool
	// begins reports that it is not known yet where the sequences are.
	begins() bool
	disk() diskCounts
	// behind is how many messages are on their way here from where the order is.
	behind() uint64
	// says what it does not do now that it should; "" = all is well.
	says() string
	// leave leaves what there is to the next process.
	leave()
}

// diskCounts are what metrics say of the disk.
type diskCounts struct {
	bytes  int
	wrote  uint64
	failed bool
}

// The names of the stores.
const (
	storeMemory    = "memory"
	storeDisk      = "disk"
	storeJetStream = "jetstream"
)

func (m *memoryStore) behind() uint64 { return 0 }
func (m *memoryStore) says() string   { return "" }

// newStore makes the one of that name. The log is followed where no channel has a
// history here, too: another node's config may give one to a channel of this node's
// clients, as in the middle of a change.
func (s *Sequencer) newStore(name string) store {
	m := &memoryStore{s: s}
	switch {
	case name == storeJetStream:
		if s.env.Channels.Ordered() == nil {
			s.offNow()
		}
		return &sharedStore{s: s, strays: strays{by: map[string]bool{}, apps: map[string]uint64{}}}
	case name == storeDisk && s.env.DataDir != "":
		return &diskStore{memoryStore: m}
	}
	return m
}

// memoryStore writes the rings when the service stops, and removes what it has
// read before it numbers anything.
type memoryStore struct {
	s      *Sequencer
	folder folder // dir "" = there is no data_dir
	boot   string
	loaded bool // something was there
	purged bool // something that was purged is on the disk
	doubt  bool // channels have had a history that had none before, or the other way round
	begun  bool
}

// open reads what the process before has left.
func (m *memoryStore) open(options) error {
	s := m.s
	s.rings = s.newRings(drawn)
	if s.env.DataDir == "" {
		return nil
	}
	m.boot = bootID()
	m.folder.dir, m.folder.busy = filepath.Join(s.env.DataDir, folderName), s.env.Busy
	purged, err := m.folder.load(s.rings, m.boot)
	if err == nil {
		m.loaded, m.purged = true, purged
		m.compare()
		s.remember()
		s.env.Log.Debug("history taken over", "messages", s.rings.Counts().Messages)
		return nil
	}
	s.rings = s.newRings(drawn) // what was read of it is not whole
	if !errors.Is(err, fs.ErrNotExist) {
		s.env.Log.Warn("history begins empty, with new epochs", "error", err)
		m.clear("what is left of the history before cannot be removed")
	}
	return nil
}

// compare finds apps in which other channels have a history than before. Of those
// that had none messages may have come that have no number: nobody is told that
// he has missed nothing there.
func (m *memoryStore) compare() {
	now := m.s.rulesNow()
	m.s.rings.Apps(func(app string) {
		if m.folder.state.Rules[app] != now[app] {
			m.doubt = true
			m.s.rings.Doubt(app)
		}
	})
}

func (m *memoryStore) clear(failed string) {
	if m.folder.dir == "" {
		return
	}
	if err := m.folder.clear(); err != nil {
		m.s.env.Log.Error(failed, "error", err)
	}
}

func (m *memoryStore) ready() {
	if !m.begun {
		m.begun = true
		m.clear("the history that was taken over cannot be removed: a process that is killed may leave it to the next one")
		m.tidy()
	}
}

// Files that count for nothing go in steps, since each takes a while.
const (
	stepPause = 5 * time.Millisecond
	stepFiles = 4
)

func (m *memoryStore) tidy() {
	if m.folder.tidy(stepFiles) {
		m.s.env.After(stepPause, m.tidy)
	}
}

func (m *memoryStore) add(p *worker.Publication)  { m.s.number(p) }
func (m *memoryStore) note(func(b []byte) []byte) {}
func (m *memoryStore) early(w history.Want) bool  { return m.s.mates.early(w) }
func (m *memoryStore) stray(string)               {}
func (m *memoryStore) away() bool                 { return false }
func (m *memoryStore) refuses() bool              { return false }
func (m *memoryStore) begins() bool               { return false }
func (m *memoryStore) disk() diskCounts           { return diskCounts{} }

func (m *memoryStore) read(q *worker.HistoryQuery, answer func([]byte, error)) {
	m.s.mates.late(func() { answer(json.Marshal(m.s.page(q))) })
}

func (m *memoryStore) purge(q *worker.HistoryPurge, answer func([]byte, error)) {
	answer(json.Marshal(worker.HistoryPurged{Purged: m.s.purge(q)}))
}

func (m *memoryStore) leave() {
	f, s := &m.folder, m.s
	defer f.close()
	nothing := s.env.Channels.Ordered() == nil && s.rings.Counts().Numbered == 0
	asRead := !m.begun && m.loaded
	if f.dir == "" || nothing || asRead {
		return
	}
	err := f.begin()
	w := s.rings.Walk()
	for more := true; more && err == nil; {
		var frames []byte
		frames, more = w.Next(nil, segmentSize/4)
		err = f.append(frames)
		f.busy()
	}
	if err == nil {
		f.complete(s.rulesNow())
		err = f.say(true, m.boot, true)
	}
	if err != nil {
		s.env.Log.Error("the history is lost with this process", "error", errors.Join(err, f.clear()))
	}
	f.tidy(len(f.old))
}
