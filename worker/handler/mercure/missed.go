package mercure

import (
	"encoding/json"
	"time"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// A client that comes back is read what it has missed page by page, of which it
// gets what is for it, and joins the hub's channel behind the last page. So what
// others were sent meanwhile does not count against its queue. How far it has got is
// in its session value: a process that takes it over goes on there.
//
// All that is kept is what there is of it when a page is read, whatever was lost by then;
// only what is read behind the client's own event has to be whole.
//
// Who comes from a node that has read more of what all share has had that already:
// it gets nothing until this one has got there.

const (
	page      = 500 // events that are read at once
	pageAgain = 200 * time.Millisecond
	maxAhead  = 20 // questions of some 2 s for a position that has not been reached here
)

// catchUp reads on for a stream that waits for what it has missed.
func (h *Handler) catchUp(s *subscriber) {
	after, kept := h.after(s.conn)
	if after == "" {
		return
	}
	at, _ := history.Parse(after) // of "earliest" the zero one
	h.w.History(worker.HistoryQuery{Channel: h.channel(), After: at, Kept: kept, Limit: page}, func(p worker.HistoryPage, err error) {
		if h.subs.of[s.conn] != s || !h.w.Has(s.conn.ID()) {
			return // it is gone, or another process goes on
		}
		switch {
		case err != nil: // the broker process is away
			h.later(s)
		case h.isAhead(p.Reason) && s.ahead < maxAhead:
			s.ahead++
			h.later(s)
		case p.Reason != "":
			h.lacks(s, after, p.Reason)
		default:
			h.take(s, &p, kept || after == wire.Earliest)
		}
	})
}

// isAhead reports whether the reason may be that this node has not read so far yet.
// Nobody else gives positions where the history is not shared.
func (h *Handler) isAhead(reason string) bool {
	return reason == history.Future.String() && h.w.SharesHistory(h.channel())
}

// lacks goes on with what is left when what follows a position cannot be had. Who
// was told by the header that it can is told now. Should that not be to be had either, it
// goes on with what is new: nobody is told again and again.
func (h *Handler) lacks(s *subscriber, after, reason string) {
	if after != wire.Earliest {
		tellLoss(s.conn, reason, wire.Earliest)
	}
	if s.lacked || after == wire.Earliest || reason == history.Off.String() {
		h.setAfter(s.conn, "", false)
		s.conn.Join(h.channel(), worker.JoinOption{})
		return
	}
	s.lacked = true
	h.setAfter(s.conn, wire.Earliest, false)
	h.later(s)
}

// later goes on in a moment.
func (h *Handler) later(s *subscriber) {
	s.conn.After(pageAgain, func() { h.catchUp(s) })
}

// take sends a page, and goes on behind it; kept says that it is one of all that is kept.
func (h *Handler) take(s *subscriber, p *worker.HistoryPage, kept bool) {
	at := p.Now
	for _, m := range p.Messages {
		pub := worker.Published{Channel: h.channel(), Position: history.Position{Epoch: p.Now.Epoch, Offset: m.Offset}, Message: worker.Message{Data: m.Data}}
		if h.OnFilter(s.conn, &pub) && s.conn.SendEvent(h.OnEvent(&pub)) != nil {
			return // it does not read: closed, or about to be
		}
		if p.More {
			at = pub.Position
		}
	}
	if p.More {
		h.setAfter(s.conn, at.String(), kept)
		if limit := h.w.Limits.MaxQueue; limit > 0 && s.conn.QueueBytes() > limit/4 {
			h.later(s)
			return
		}
		h.catchUp(s)
		return
	}
	h.setAfter(s.conn, "", false)
	s.conn.Join(h.channel(), worker.After(at))
}

// after returns where a stream is with what it has missed: a position, "earliest",
// or "" when it has all; kept says that the position is in the middle of all that is kept.
func (h *Handler) after(c *worker.Conn) (after string, kept bool) {
	var v session
	_ = json.Unmarshal([]byte(c.Get(sessionKey)), &v)
	return v.After, v.Kept
}

func (h *Handler) setAfter(c *worker.Conn, after string, kept bool) {
	var v session
	if json.Unmarshal([]byte(c.Get(sessionKey)), &v) != nil {
		return
	}
	v.After, v.Kept = after, kept
	if b, err := json.Marshal(&v); err == nil && c.Set(sessionKey, string(b)) != nil {
		c.Close(1011, "no room for the session")
	}
}
