package sequencer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// rulesFile, in data_dir, is what a node knows of the rules that its broker process
// before went by. The log keeps what came before a history was switched off, and goes on
// when it is on again: what came between has no number, and the log does not know.
const rulesFile = "history-rules.json"

type rulesNote struct {
	Rules map[string]string `json:"rules"` // by app: which channels have a history
	Epoch history.Epoch     `json:"epoch"`
	Doubt map[string]uint64 `json:"doubt"` // by app: who was there by then may have missed something
	Read  uint64            `json:"read"`  // up to where the process that has left in order had read; 0 = not known
	Since int64             `json:"since"` // of one that had not got so far: what it was to tell workers of, see sharedStore
}

// rulesNow says by app, "" = none, which channels have a history. It names all apps, of
// which there need not be a message yet: one that has its first later is no change.
func (s *Sequencer) rulesNow() map[string]string {
	now := map[string]string{"": s.env.Channels.Historical("")}
	for app := range s.env.Apps {
		now[app] = s.env.Channels.Historical(app)
	}
	return now
}

// doubts compares the rules with those of before, and has whoever was in an app when
// others held told that he may have missed something. A node without data_dir, or with a
// new one, as a pod has it, knows of none before. It returns up to where the process
// before has read, which counts once: a process that is killed says nothing of it.
func (h *sharedStore) doubts(at worker.LogStart) (read uint64) {
	s := h.s
	before, known := s.readRules()
	h.switched = map[string]bool{}
	note := rulesNote{Rules: s.rulesNow(), Epoch: at.Epoch, Doubt: map[string]uint64{}}
	for app, rules := range note.Rules {
		doubt := uint64(0)
		switch {
		case !known:
		case before.Rules[app] != rules:
			doubt, h.switched[app] = at.Last, true
		case before.Epoch == at.Epoch:
			doubt = before.Doubt[app]
		}
		if doubt > 0 {
			note.Doubt[app] = doubt
			s.rings.Distrust(app, doubt)
		}
	}
	s.writeRules(&note)
	if before.Epoch != at.Epoch {
		return 0
	}
	if before.Since > 0 { // its workers are this one's, if it has left just now
		h.since = min(h.since, max(before.Since, h.since-justLeft.Milliseconds()))
	}
	return before.Read
}

// justLeft is how long the processes of one who takes the place of another may overlap.
const justLeft = 10 * time.Second

// offNow notes that no channel has a history, for the time when some have one again.
func (s *Sequencer) offNow() {
	if before, known := s.readRules(); known {
		before.Rules = s.rulesNow()
		s.writeRules(&before)
	}
}

func (s *Sequencer) readRules() (note rulesNote, known bool) {
	if s.env.DataDir == "" {
		return note, false
	}
	raw, err := os.ReadFile(filepath.Join(s.env.DataDir, rulesFile))
	known = err == nil && json.Unmarshal(raw, &note) == nil
	if note.Doubt == nil {
		note.Doubt = map[string]uint64{}
	}
	return note, known
}

func (s *Sequencer) writeRules(note *rulesNote) {
	if s.env.DataDir == "" {
		return
	}
	raw, err := json.Marshal(note)
	if err == nil {
		err = replaceFile(filepath.Join(s.env.DataDir, rulesFile), raw, false)
	}
	if err != nil {
		s.env.Log.Warn("after a change of which channels have a history, clients may not be told what they have missed", "error", err)
	}
}
