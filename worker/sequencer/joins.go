package sequencer

import (
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// Answers to those who join are collected, so that the many who come back to a
// channel after a fault get one, and paced, so that messages go in between. Who
// waits gathers company: pacing makes a mass return faster.
const (
	joinPause = 25 * time.Millisecond // from the first who waits to the first answer
	joinStep  = 10 * time.Millisecond // from one answer to the next, while more wait
	joinBytes = 200 << 10             // of answers at a time, beyond the first
	joinConns = 1000                  // connections that one answer is for
)

// joins are those who wait for an answer.
type joins struct {
	queue []string // channels, in the order in which somebody began to wait for them
	by    map[string][]history.Want
	due   bool
}

func (j *joins) add(s *Sequencer, w history.Want) {
	list := j.by[w.Channel]
	if list == nil {
		j.queue = append(j.queue, w.Channel)
	}
	j.by[w.Channel] = append(list, w)
	j.soon(s, joinPause)
}

func (j *joins) soon(s *Sequencer, pause time.Duration) {
	if !j.due {
		j.due = true
		s.env.After(pause, func() {
			j.due = false
			j.flush(s, joinBytes)
			if len(j.queue) > 0 {
				j.soon(s, joinStep)
			}
		})
	}
}

// flush answers the channels that have waited longest, until the answers take so
// many bytes.
func (j *joins) flush(s *Sequencer, budget int) {
	for sent := 0; len(j.queue) > 0 && sent < budget; {
		name := j.queue[0]
		list := j.by[name]
		j.queue[0] = ""
		j.queue = j.queue[1:]
		delete(j.by, name)
		sent += s.admit(name, list)
	}
	if len(j.queue) == 0 {
		j.queue = nil
	}
}

// admit answers those who want to join a channel, and returns the bytes that
// this takes on the bus.
func (s *Sequencer) admit(name string, list []history.Want) (sent int) {
	groups := map[history.Want][]string{}
	for _, w := range list {
		conn := w.Conn
		w.Conn = ""
		groups[w] = append(groups[w], conn)
	}
	app, now := s.env.Apps.Of(name), s.now()
	shard := s.shardsOf(app)[worker.Shard(worker.ScopeChannel, name)]
	for w, conns := range groups {
		var a history.Answer
		if w.Last > 0 && w.After == (history.Position{}) {
			a = s.rings.Last(app, name, w.Last, w.Room, now)
		} else {
			a = s.rings.From(app, name, w.After, w.Room, now)
		}
		if w.After != (history.Position{}) {
			s.counts.recoveries[a.Reason] += uint64(len(conns))
		}
		data := history.AppendReply(nil, &w, &a, shard)
		for len(conns) > 0 {
			n := min(len(conns), joinConns)
			p := worker.Publication{Kind: worker.KindRecovery, Scope: worker.ScopeList, Target: name, Conns: conns[:n], Data: data}
			conns = conns[n:]
			sent += len(data) + 24*n
			s.publish(p)
		}
	}
	return sent
}
