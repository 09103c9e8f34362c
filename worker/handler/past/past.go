// Package past is what clients of plain WebSocket, or of a stream of events, may ask of the history of the
// channels that a handler lets them join: ?after=EPOCH:OFFSET for what they have
// missed, ?positions=1 for the position of each message. Who asks for neither
// gets messages as they are, byte for byte.
package past

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"unicode/utf8"

	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/history"
)

// MaxLast is the most messages that a client gets on joining.
const MaxLast = 1000

// Access are the options of a route; part of the handler's own.
type Access struct {
	Last int `json:"last"` // newest messages of a channel that who joins gets; default 0
	// PublicHistory lets clients without a token read what was said before they
	// came. Default: not.
	PublicHistory bool `json:"public_history"`
}

// Check judges the options of a route; open says that clients without a token get
// into channels there.
func (o *Access) Check(open bool) error {
	switch {
	case o.Last < 0 || o.Last > MaxLast:
		return errors.New("options: last: a number of messages from 0 to " + strconv.Itoa(MaxLast))
	case o.Last > 0 && open && !o.PublicHistory:
		return errors.New("options: last: everybody could read what was said before he came: set public_history = true if he may, or a secret")
	}
	return nil
}

// Visitor is who asks: a handshake, or a login.Request.
type Visitor interface {
	Header(name string) string
	Refuse(status int, text string)
}

// Ask reads what the query asks for, and returns the text of the position that the
// client has, "" for none. With ok false it has refused the visitor. open is as in
// Check.
func (o *Access) Ask(c *worker.Conn, v Visitor, query url.Values, open bool) (after string, ok bool) {
	after = query.Get("after")
	if after != "" {
		if _, err := history.Parse(after); err != nil {
			v.Refuse(http.StatusBadRequest, "after: "+err.Error())
			return "", false
		}
		if open && !o.PublicHistory {
			v.Refuse(http.StatusForbidden, "after: the history is not public here (public_history)")
			return "", false
		}
	}
	// Who comes with a position has to be told if what follows it cannot be had.
	c.SetPositions(after != "" || query.Get("positions") == "1")
	return after, true
}

// AskEvents is Ask for a stream. Last-Event-ID, which a browser sends by itself
// when it comes back, is newer than the query, and never refused: one that is no
// position is one that nobody knows, and the client is told so.
func (o *Access) AskEvents(c *worker.Conn, v Visitor, query url.Values, open bool) (after string, ok bool) {
	if after, ok = o.Ask(c, v, query, open); !ok {
		return "", false
	}
	c.SetPositions(query.Get("positions") == "1")
	if last := v.Header("Last-Event-ID"); last != "" && (!open || o.PublicHistory) {
		after = last
		if _, err := history.Parse(last); err != nil {
			after = unknown
		}
	}
	return after, true
}

// unknown stands for a position that is none.
const unknown = "?"

// Join joins a channel, with its history if the client has asked for that; open
// says that clients without a token may join it.
func (o *Access) Join(c *worker.Conn, name, after string, open bool) {
	policy := c.Worker().ChannelRules.Of(name)
	at, _ := history.Parse(after) // Ask has read it; "" is none
	if after == unknown {
		at.Epoch = history.Stranger
	}
	readable := !open || o.PublicHistory
	switch {
	case after != "":
		c.Join(name, worker.After(at))
	case policy.History == 0:
		c.Join(name)
	case policy.Mode == channel.Latest && readable:
		c.Join(name, worker.Last(1))
	case o.Last > 0 && readable:
		c.Join(name, worker.Last(o.Last))
	case c.Positions() && !streams(c): // see Place
		c.Join(name, worker.JoinOption{})
	default:
		c.Join(name)
	}
}

// Place has the client of a stream that came without a position told where it is,
// once it has joined its channels: cut before the first message, it would come back
// without an id, and what came meanwhile would be lost in silence. One position does
// for all of its channels. A join that waits for the newest messages tells it too.
//
// It is a member already, so nothing is lost while a place that this process does not
// know is asked for.
func (o *Access) Place(c *worker.Conn, after string, open bool) {
	if !streams(c) || after != "" || c.Recovering() || open && !o.PublicHistory {
		return
	}
	for _, name := range c.Channels() {
		if c.Worker().ChannelRules.Of(name).History > 0 {
			c.Join(name, worker.JoinOption{})
			return
		}
	}
}

// streams reports whether the client reads a stream of events.
func streams(c *worker.Conn) bool { return c.Protocol() == "sse" }

// Tell is a handler's OnRecovery: behind what was missed, a client that is told
// positions learns where it is, and whether that was all. The client of a stream
// learns it by the id of an event, which has a type and data: EventSource of npm
// forgets an id that comes alone, and a page is not told of it.
func Tell(c *worker.Conn, r *worker.Recovery) {
	asked, stream := r.After != (history.Position{}), streams(c)
	if !stream && !c.Positions() || !asked && (r.Reason != history.Whole || r.Position.Epoch == 0) {
		return
	}
	if c.Protocol() == "poll" && (!asked || r.Recovered()) {
		return // the answer says where it is; more only where something is missing
	}
	r.Send()
	b := head(r.Channel, r.Position)
	if asked {
		b = append(b, `,"recovered":`...)
		b = strconv.AppendBool(b, r.Recovered())
		if r.Recovered() {
			b = strconv.AppendInt(append(b, `,"count":`...), int64(r.Count), 10)
		} else {
			b = pusher.AppendString(append(b, `,"reason":`...), r.Reason.String())
		}
	}
	b = append(b, '}')
	if !stream {
		_ = c.Send(worker.Message{Data: b}) // what fails has closed it
		return
	}
	e := worker.Event{Type: "pushd:position", Data: b}
	if asked {
		e.Type = "pushd:recovered"
	}
	if !c.Recovering() { // else what the others have missed would be skipped by one who comes back
		e.ID = r.Position.String()
	}
	if asked || e.ID != "" {
		_ = c.SendEvent(e)
	}
}

// Event is a handler's OnEvent: the message, with its place as the id.
func Event(p *worker.Published) worker.Event {
	e := worker.Event{Data: p.Message.Data}
	if !p.Partial {
		e.ID = p.Position.String()
	}
	if p.Message.Binary {
		e.Type, e.Data = "binary", base64.StdEncoding.AppendEncode(nil, e.Data)
	}
	return e
}

// Message is a handler's OnPosition: the message with its place.
func Message(p *worker.Published) worker.Message {
	b := head(p.Channel, p.Position)
	if data := p.Message.Data; p.Message.Binary || !utf8.Valid(data) {
		b = append(b, `,"data_base64":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, data), '"')
	} else {
		b = pusher.AppendString(append(b, `,"data":`...), string(data))
	}
	return worker.Message{Data: append(b, '}')}
}

// head begins an object; a position that is none is left out.
func head(name string, p history.Position) []byte {
	b := append(make([]byte, 0, 128), '{')
	if p != (history.Position{}) {
		b = append(pusher.AppendString(append(b, `"position":`...), p.String()), ',')
	}
	return pusher.AppendString(append(b, `"channel":`...), name)
}
