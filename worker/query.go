package worker

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/connid"
	"github.com/pushd/pushd/worker/hub"
)

// query answers what the master or another process asks; it runs on the loop.
func (l *loop) query(what string, args json.RawMessage) (json.RawMessage, error) {
	switch what {
	case "stats":
		return json.Marshal(l.snapshot())
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
	case GatherQuery:
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

// A page is bounded in number and in the bytes that it has as JSON, to fit a
// control message whatever names strangers have chosen.
const (
	maxPage      = 100
	maxPageBytes = 64 << 10
	maxEntry     = 32 << 10 // of one connection; beyond it goes without its channels
	maxNames     = 100      // channels listed of one connection
)

// connPage is a ConnPage whose entries are encoded.
type connPage struct {
	Connections []json.RawMessage `json:"connections"`
	Cursor      string            `json:"cursor"`
}

// listConns returns a page in the order of ids; the cursor is the last id.
// Ordered so, a page misses nothing that stays and repeats nothing.
func (l *loop) listConns(q ConnQuery) connPage {
	limit := q.Limit
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	var after ID
	if q.Cursor != "" {
		after, _ = ParseID(q.Cursor)
	}
	page := connPage{Connections: []json.RawMessage{}}
	size, last := 0, ""
	for _, c := range l.firstAfter(after, limit+1, q) {
		if len(page.Connections) == limit || size > maxPageBytes {
			page.Cursor = last
			break
		}
		entry := c.info().encode()
		size += len(entry)
		page.Connections, last = append(page.Connections, entry), c.ID()
	}
	return page
}

// encode returns at most maxEntry bytes.
func (i ConnInfo) encode() json.RawMessage {
	raw, err := control.Marshal(i)
	if err != nil || len(raw) > maxEntry {
		i.UID, i.Channels = clip(i.UID), nil
		raw, _ = control.Marshal(i) // plain values only
	}
	return raw
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
	if len(names) > maxNames {
		names = names[:maxNames]
	}
	recv := 0
	if c.in != nil {
		recv = c.in.size()
	}
	msgsIn, msgsOut, in, out := c.Counters()
	return ConnInfo{
		ID: c.ID(), Worker: l.w.Name, Slot: l.slot, PID: pid, UID: c.UID(),
		Protocol: c.Protocol(), TLS: c.TLS(), Path: clip(c.Path()), IP: c.RemoteIP(), Port: int(c.peer().Port()), Local: c.LocalAddr(),
		Connected: c.Since().UTC(), IdleS: c.idle(),
		RecvQueue: recv, SendQueue: c.QueueBytes(),
		BytesIn: in, BytesOut: out, MessagesIn: msgsIn, MessagesOut: msgsOut,
		Dropped: c.dropped(), Channels: names,
	}
}

// idle returns for how many seconds the client has been silent. Both ends are
// rounded down, which must not make it longer than the connection is old.
func (c *Conn) idle() int {
	return min(int(seconds(c.loop.now)-c.lastRecv), int(time.Since(c.Since())/time.Second))
}

// dropped returns how many messages the client has missed.
func (c *Conn) dropped() uint64 {
	if c.more == nil {
		return 0
	}
	return c.more.dropped
}

// clip shortens what a client chose to a size that a table can bear.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200]
	}
	return s
}

func quoted(s string) string { return strconv.Quote(clip(s)) }

// listChannels returns a page in the order of names.
func (l *loop) listChannels(q ChannelQuery) ChannelPage {
	limit := q.Limit
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	var names []string
	l.hub.Groups(hub.Channel, func(g *hub.Group[*Conn]) bool {
		name := g.Name()
		if !strings.HasPrefix(name, q.Prefix) || name <= q.Cursor && q.Cursor != "" {
			return true
		}
		if len(names) > limit && name > names[limit] {
			return true
		}
		i, _ := slices.BinarySearch(names, name)
		if names = slices.Insert(names, i, name); len(names) > limit+1 {
			names = names[:limit+1]
		}
		return true
	})
	page := ChannelPage{Channels: []ChannelInfo{}}
	size := 0
	for _, name := range names {
		if n := len(page.Channels); n == limit || n > 0 && size > maxPageBytes {
			page.Cursor = page.Channels[n-1].Name
			break
		}
		size += len(name)
		page.Channels = append(page.Channels, ChannelInfo{Name: name, Members: len(l.hub.Group(hub.Channel, name).Members())})
	}
	return page
}
