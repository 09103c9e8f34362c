package worker

import (
	"slices"

	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/hub"
)

// chain is how far this process has been told of an app's sequence, in each
// shard. A message says which one was before it in its shard: so a process that
// has lost one knows, and which channels it may have been in. 64 numbers for an
// app do for any number of channels.
type chain struct {
	epoch history.Epoch
	last  [Shards]uint64
	known [Shards]bool
	begin *[Shards]uint64 // where each was when the journal began; nil without one
	moved uint64          // recall.followed when it was told something last
	// clear is up to where the service has said that nothing is missing. What a quiet shard
	// had last may be too old to be gone back to.
	clear uint64
}

// at is the last place of a shard at which nothing was missing.
func (ch *chain) at(shard uint8) uint64 { return max(ch.last[shard], ch.clear) }

// place is that behind all that has come.
func (ch *chain) place() uint64 { return max(slices.Max(ch.last[:]), ch.clear) }

// newChain makes the chain of an epoch.
func (l *loop) newChain(epoch history.Epoch) chain {
	ch := chain{epoch: epoch}
	if l.fan.journal.On() {
		ch.begin = new([Shards]uint64)
	}
	return ch
}

// follow compares what has arrived with what should have. Where something is
// missing, the members of the channels that it may have been for join them
// again, from the last place at which nothing was: they get it, or are told. It
// runs before p is delivered, and returns the answer that p is.
func (l *loop) follow(p *Publication) *history.Reply {
	switch {
	case p.Kind == KindRecovery:
		reply, err := history.ParseReply(p.Data)
		if err != nil {
			return nil
		}
		app := l.recall.apps.Of(p.Target)
		if l.followed(app, p.Shard, reply.Epoch, reply.Shard, reply.Shard) {
			l.placed(app, p.Shard, reply.Position)
		}
		return &reply
	case p.Kind == KindStand:
		_ = history.EachStand(p.Data, func(s history.Stand) {
			if l.recall.away = s.Epoch == 0; l.recall.away {
				for c := range l.recall.of {
					l.letIn(c)
				}
				return
			}
			l.stood(&s)
		})
		l.meets(p.Publisher)
	case p.Stamp != nil && p.Scope == ScopeChannel:
		app := l.recall.apps.Of(p.Target)
		if l.followed(app, p.Shard, p.Stamp.Epoch, p.Stamp.Before, p.Stamp.Offset) {
			l.placed(app, p.Shard, history.Position{Epoch: p.Stamp.Epoch, Offset: p.Stamp.Offset - 1})
		}
	}
	return nil
}

// stood compares with where the service is, in all shards.
func (l *loop) stood(s *history.Stand) {
	var news []uint8
	for shard := range uint8(Shards) {
		if l.followed(s.App, shard, s.Epoch, s.Shards[shard], s.Shards[shard]) {
			news = append(news, shard)
		}
	}
	ch := l.recall.chains[s.App]
	ch.clear = max(ch.clear, s.Offset)
	for _, shard := range news {
		l.placed(s.App, shard, history.Position{Epoch: ch.epoch, Offset: ch.place()})
	}
}

// followed notes that a shard is at offset last, and was at before until then. It reports
// whether nothing was known of it in this epoch.
func (l *loop) followed(app string, shard uint8, epoch history.Epoch, before, last uint64) (news bool) {
	r := &l.recall
	ch := r.chains[app]
	if ch == nil {
		if r.chains == nil {
			r.chains = map[string]*chain{}
		}
		made := l.newChain(epoch)
		ch = &made
		r.chains[app] = ch
	}
	if ch.epoch != epoch {
		old := *ch
		*ch = l.newChain(epoch)
		for shard := range uint8(Shards) {
			l.joinAgain(app, shard, history.Position{Epoch: old.epoch, Offset: old.at(shard)})
		}
	} else if ch.known[shard] && before > ch.last[shard] {
		l.joinAgain(app, shard, history.Position{Epoch: epoch, Offset: ch.at(shard)})
	}
	news = !ch.known[shard]
	if news && ch.begin != nil {
		ch.begin[shard] = before
	}
	ch.last[shard], ch.known[shard] = max(ch.last[shard], last), true
	r.followed++
	ch.moved = r.followed
	return news
}

// placed lets those join who have waited to be told where they are, now that it is known
// of the shard, and it is there.
func (l *loop) placed(app string, shard uint8, at history.Position) {
	r := &l.recall
	for c, list := range r.of {
		for _, j := range slices.Clone(list) {
			i := r.find(c, j.channel)
			if i < 0 || !c.open() || r.of[c][i].recovers() || Shard(ScopeChannel, j.channel) != shard || r.apps.Of(j.channel) != app {
				continue
			}
			r.remove(c, i)
			l.hub.Join(hub.Channel, j.channel, c)
			l.holdFor(c)
			c.route.recovered(c, &Recovery{Channel: j.channel, Position: at, Again: j.again})
		}
	}
}

// place is the position behind all that has been delivered here of the app of a
// channel: who joins the channel now gets what follows it. Shards need not be told
// apart, since a process gets all of them in one order. In a replay it is not
// known.
func (r *recall) place(name string) (at history.Position, ok bool) {
	ch := r.chains[r.apps.Of(name)]
	if r.replaying || ch == nil || !ch.known[Shard(ScopeChannel, name)] {
		return at, false
	}
	return history.Position{Epoch: ch.epoch, Offset: ch.place()}, true
}

// joinAgain has the members of the channels of a shard join them again.
func (l *loop) joinAgain(app string, shard uint8, after history.Position) {
	var groups []*hub.Group[*Conn]
	l.hub.Groups(hub.Channel, func(g *hub.Group[*Conn]) bool {
		if name := g.Name(); Shard(ScopeChannel, name) == shard && l.hasHistory(name) && l.recall.apps.Of(name) == app {
			groups = append(groups, g)
		}
		return true
	})
	n := 0
	for _, g := range groups {
		for _, c := range append([]*Conn(nil), g.Members()...) {
			l.progress.Add(1)
			if c.open() {
				l.recoverAgain(c, g.Name(), after)
				n++
			}
		}
	}
	if n > 0 {
		l.log.Warn("messages of channels with history have not come here: their members are told, or get them", "members", n, "after", after.String())
	}
}

// recoverAgain has a member get what follows a position. One that waits for an
// answer anyway will have it in that, unless he has asked for no messages.
func (l *loop) recoverAgain(c *Conn, name string, after history.Position) {
	r := &l.recall
	after.Offset = max(after.Offset, l.hadInChain(c, r.apps.Of(name), Shard(ScopeChannel, name), after.Epoch))
	i := r.find(c, name)
	if i < 0 {
		l.await(c, joining{channel: name, after: after, again: true})
		return
	}
	if j := &r.of[c][i]; !j.recovers() {
		j.after, j.asked, j.born = after, 0, l.fan.begun
		l.askFor(c)
	}
}

// lostIn has the members of the channels of a shard join them again when the bus
// has lost something in it.
func (l *loop) lostIn(shard uint8) {
	for app, ch := range l.recall.chains {
		if ch.known[shard] {
			l.joinAgain(app, shard, history.Position{Epoch: ch.epoch, Offset: ch.at(shard)})
		}
	}
}
