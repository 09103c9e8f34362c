package worker

import (
	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/history"
)

// What the two processes of a hand-over tell each other of where they stand beside the
// vector of what was delivered: see delivered/marks.go.

// whatWasHeard is how far the bus client has heard each source. It runs on that client's
// goroutine.
func (l *loop) whatWasHeard() *delivered.Vector {
	v := delivered.Vector{}
	l.broker.Heard(func(publisher uint64, shard uint8, seq uint64) {
		v[delivered.Source{Publisher: publisher, Shard: shard}.Heard()] = seq
	})
	return &v
}

// stands returns how far this process has followed the chains that have moved since.
func (r *recall) stands(since uint64) delivered.Vector {
	v := delivered.Vector{}
	for app, ch := range r.chains {
		if ch.moved <= since {
			continue
		}
		for shard, known := range ch.known {
			if known {
				v[delivered.Chain(app, uint32(ch.epoch), uint8(shard))] = ch.last[shard]
			}
		}
	}
	return v
}

// hadInChain is how far a connection was in a shard of a chain where it came from.
func (l *loop) hadInChain(c *Conn, app string, shard uint8, epoch history.Epoch) uint64 {
	if !c.has(flagSkip) {
		return 0
	}
	return l.skip.Of(c)[delivered.Chain(app, uint32(epoch), shard)]
}

// followOn goes on with the chains where the old worker was, v. What was numbered behind
// that, and before the first that the journal here has, has come to neither: who is a
// member of a channel in which it may have been joins it again. It runs before the
// replay, which leaves out what the answers will have.
func (l *loop) followOn(conns []*Conn, v delivered.Vector) {
	epochs := v.Epochs()
	if len(epochs) == 0 {
		return
	}
	for _, c := range conns {
		for _, name := range c.Channels() {
			if l.hasHistory(name) {
				l.followOnIn(c, name, v, epochs)
			}
		}
	}
}

func (l *loop) followOnIn(c *Conn, name string, v delivered.Vector, epochs map[uint32]uint32) {
	app, shard := l.recall.apps.Of(name), Shard(ScopeChannel, name)
	epoch := history.Epoch(epochs[delivered.AppHash(app)])
	at, ok := v[delivered.Chain(app, uint32(epoch), shard)]
	ch := l.recall.chains[app]
	switch {
	case !ok:
	case ch == nil, ch.epoch == epoch && !ch.known[shard]:
		l.followed(app, shard, epoch, at, at)
	case ch.epoch != epoch, // which of the two is the later one is not known here, but to the service
		ch.begin != nil && at < ch.begin[shard]:
		l.recoverAgain(c, name, history.Position{Epoch: epoch, Offset: at})
	}
}
