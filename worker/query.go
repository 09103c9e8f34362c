package worker

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/connid"
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/survey"
)

// query answers what the master or another process asks; it runs on the loop.
func (l *loop) query(what string, args json.RawMessage) (json.RawMessage, error) {
	switch what {
	case "stats":
		return json.Marshal(l.snapshot())
	case control.QueryClients:
		return json.Marshal(l.snapshotOfClients())
	case "connections":
		return answerTo(args, l.listConns)
	case "channels":
		return answerTo(args, l.listChannels)
	case "count":
		return answerTo(args, l.countMembers)
	case "online":
		return answerTo(args, l.countOnline)
	case "members":
		return answerTo(args, l.listMembers)
	case "session":
		return answerTo(args, l.sessionValue)
	case control.QueryRecords:
		var q control.Records
		if err := decode(args, &q); err != nil {
			return nil, err
		}
		return json.Marshal(control.Records{Version: q.Version, Unreadable: l.unreadable(byte(min(q.Version, 255))), Connections: l.conns.len()})
	case survey.HandlerQuestion:
		return l.askHandlers(args)
	}
	return nil, fmt.Errorf("worker does not know the query %q", what)
}

// answerTo has fn answer a question whose arguments are a Q.
func answerTo[Q, A any](args json.RawMessage, fn func(Q) A) (json.RawMessage, error) {
	var q Q
	if err := decode(args, &q); err != nil {
		return nil, err
	}
	return control.Marshal(fn(q))
}

func decode(args json.RawMessage, v any) error {
	if len(args) == 0 {
		return nil
	}
	return json.Unmarshal(args, v)
}

// listConns returns a page in the order of ids.
func (l *loop) listConns(q ConnQuery) any {
	var after ID
	if q.Cursor != "" {
		after, _ = ParseID(q.Cursor)
	}
	page := survey.NewConns(q)
	for _, c := range l.firstAfter(after, page.Wants(), q) {
		if !page.Add(c.info()) {
			break
		}
	}
	return page.Page()
}

// firstAfter returns the n lowest ids above after that match, in order. It
// keeps n candidates instead of sorting all.
func (l *loop) firstAfter(after ID, n int, q ConnQuery) []*Conn {
	ip, _ := netip.ParseAddr(q.IP)
	var best []*Conn
	for _, c := range l.candidates(q) {
		if connid.Compare(c.id, after) <= 0 || q.Channel != "" && !c.InChannel(q.Channel) || q.UID != "" && c.UID() != q.UID ||
			q.IP != "" && c.RemoteAddr().Addr() != ip {
			continue
		}
		if len(best) == n && connid.Compare(c.id, best[n-1].id) > 0 {
			continue
		}
		i, _ := slices.BinarySearchFunc(best, c, func(a, b *Conn) int { return connid.Compare(a.id, b.id) })
		if len(best) == n {
			best = best[:n-1]
		}
		best = slices.Insert(best, i, c)
	}
	return best
}

// candidates narrows the search where a name does.
func (l *loop) candidates(q ConnQuery) []*Conn {
	var g *hub.Group[*Conn]
	switch {
	case q.UID != "":
		g = l.hub.Group(hub.UID, q.UID)
	case q.Channel != "":
		g = l.hub.Group(hub.Channel, q.Channel)
	default:
		return l.conns.all
	}
	if g == nil {
		return nil
	}
	return g.Members()
}

var pid = os.Getpid()

// info describes the connection for `connections`.
func (c *Conn) info() ConnInfo {
	l := c.loop
	names := c.Channels()
	if len(names) > survey.MaxNames {
		names = names[:survey.MaxNames]
	}
	recv := 0
	if c.in != nil {
		recv = c.in.size()
	}
	msgsIn, msgsOut, in, out := c.Counters()
	return ConnInfo{
		ID: c.ID(), Worker: l.w.Name, Slot: l.slot, PID: pid, UID: c.UID(),
		Protocol: c.Protocol(), TLS: c.TLS(), Path: survey.Clip(c.Path()), IP: c.RemoteIP(), Port: int(c.peer().Port()), Local: c.LocalAddr(),
		Connected: c.Since().UTC(), IdleS: c.idle(),
		RecvQueue: recv, SendQueue: c.QueueBytes(),
		BytesIn: in, BytesOut: out, MessagesIn: msgsIn, MessagesOut: msgsOut,
		Dropped: c.dropped(), Channels: names,
	}
}

// idle returns for how many seconds the client has been silent. Both ends are
// rounded down, which must not make it longer than the connection is old.
func (c *Conn) idle() int {
	silent := int(seconds(c.loop.now) - c.lastRecv)
	if age := c.loop.reactor.Wall().Unix() - int64(c.since); age >= 0 { // below: the clock was set back
		silent = min(silent, int(age))
	}
	return silent
}

// dropped returns how many messages the client has missed.
func (c *Conn) dropped() uint64 {
	if c.more == nil {
		return 0
	}
	return c.more.dropped
}

func quoted(s string) string { return strconv.Quote(survey.Clip(s)) }

// listChannels returns a page in the order of names.
func (l *loop) listChannels(q ChannelQuery) ChannelPage {
	page := survey.NewChannels(q)
	l.hub.Groups(hub.Channel, func(g *hub.Group[*Conn]) bool {
		page.Offer(g.Name())
		return true
	})
	return page.Page(func(name string) int { return l.size(hub.Channel, name) })
}
