package broker

import (
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// strays are messages without a position in channels that have a history here:
// their publisher knows of none, as a node that a change of the config has not
// reached yet. No recovery has them, so the history service of this node is told
// before anything later can be asked of it from here.
//
// It belongs to the receiver, under its mu.
type strays struct {
	kept func(channel string) bool // whether it has a history here; nil = nothing is looked for
	tell func(word []byte) error
	told map[string]bool // channels, since the last message with a position
}

// maxStrays bounds what is remembered; beyond it the service is told again.
const maxStrays = 1024

// look looks at a message; local says that it is for this node only, as what
// services say themselves.
func (s *strays) look(p *worker.Publication, local bool) {
	switch {
	case s.kept == nil || p.Kind != worker.KindMessage || p.Scope != worker.ScopeChannel:
	case p.Stamp != nil:
		clear(s.told)
	case local || p.Code == worker.CodeUnkept || s.told[p.Target] || !s.kept(p.Target):
	case s.tell(history.AppendWant(nil, &history.Want{Channel: p.Target})) == nil:
		if len(s.told) >= maxStrays {
			clear(s.told)
		}
		s.told[p.Target] = true
	}
}
