package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/order"
)

// answer answers a question of the process p.
func (h *handler) answer(p *proc, number uint64, v any, err error) {
	if number == 0 || p.over {
		if err != nil {
			h.note("an order is refused", wire.Frame{Op: wire.Order}, err)
		}
		return
	}
	f := wire.Frame{Op: wire.Answer, Conn: number}
	if err != nil {
		f.Flags, v = wire.Binary, refused(err)
	}
	var jsonErr error
	if f.Payload, jsonErr = json.Marshal(v); jsonErr != nil {
		f.Flags, f.Payload = wire.Binary, []byte(`{"error":"the answer cannot be written"}`)
	}
	h.aside(p, func() { h.next = f.Append(h.next) })
}

// aside sends what make appends to the events to come. A callback that waits for
// an answer is not done with its batch before that is there: so in the middle of
// one it goes out at once, of no batch; and to a process that is still to take over,
// which may ask from a timer, and would be late for what it is to take over.
func (h *handler) aside(p *proc, make func()) {
	if p == h.cur && len(h.under) == 0 && !h.awaits() {
		make()
		h.kick()
		return
	}
	waiting := h.next
	h.next = nil
	make()
	p.link.Write(h.next)
	if p == h.cur {
		h.beside += len(h.next)
	}
	h.next = waiting
}

type refusal struct {
	Error string `json:"error"`
	Field string `json:"field,omitempty"`
}

func refused(err error) refusal {
	var e *order.Error
	if errors.As(err, &e) {
		return refusal{e.Message, e.Field}
	}
	return refusal{Error: err.Error()}
}

// question is an order that has an answer.
func (h *handler) question(p *proc, f wire.Frame) error {
	switch f.Op {
	case wire.Order:
		err := h.order(f.Payload)
		h.answer(p, f.Conn, struct{}{}, err)
	case wire.AskOpens:
		if p != h.cur { // it has nobody yet, and is told when it takes over
			p.welcome.Wants = append(slices.DeleteFunc(p.welcome.Wants, func(w string) bool { return w == wire.WantLater }), wire.WantOpen)
			h.answer(p, f.Conn, struct{}{}, nil)
			return nil
		}
		h.wants[wire.WantOpen] = true
		delete(h.wants, wire.WantLater)
		if h.awaits() { // then all are told who are there at its end
			h.answer(p, f.Conn, struct{}{}, nil)
			return nil
		}
		h.aside(p, h.tellAll)
		h.answer(p, f.Conn, struct{}{}, nil)
	case wire.Call:
		h.call(p, f)
	}
	return nil
}

// order is one that the HTTP API takes too.
func (h *handler) order(body []byte) error {
	f, err := order.Object(body)
	if err != nil {
		return err
	}
	verb, err := order.Text(f["op"])
	if err != nil || !order.Known(verb) {
		return &order.Error{Cause: order.Invalid, Field: "op", Message: fmt.Sprintf("op: one of %q is needed", order.Verbs())}
	}
	delete(f, "op")
	list, err := order.Parse(verb, f, order.Names{}, &order.Budget{})
	if err != nil {
		return err
	}
	return h.w.PublishOrders(list)
}

// call asks all processes, or this one.
func (h *handler) call(p *proc, f wire.Frame) {
	var q struct {
		What       string   `json:"what"`
		Channel    string   `json:"channel"`
		UIDs       []string `json:"uids"`
		Limit      int      `json:"limit"`
		Connection uint64   `json:"connection"`
	}
	err := json.Unmarshal(f.Payload, &q)
	number := f.Conn
	switch {
	case err != nil:
	case q.What == "count":
		err = h.w.CountAll(q.Channel, func(n int, complete bool) {
			h.answer(p, number, map[string]any{"count": n, "complete": complete}, nil)
		})
	case q.What == "online":
		err = h.w.OnlineAll(q.UIDs, func(online map[string]int, complete bool) {
			h.answer(p, number, map[string]any{"online": online, "complete": complete}, nil)
		})
	case q.What == "members":
		err = h.w.MembersAll(q.Channel, q.Limit, func(members []worker.Member, total int, complete bool) {
			h.answer(p, number, map[string]any{"members": listed(members), "total": total, "complete": complete}, nil)
		})
	case q.What == "queue":
		err = h.queue(p, number, q.Connection)
	case q.What == "replace":
		h.asked(p)
		h.answer(p, number, struct{}{}, nil)
	default:
		err = errors.New("what: one of count, online, members, queue, replace is needed")
	}
	if err != nil {
		h.answer(p, number, nil, err)
	}
}

// queue says how much waits for a client, and at how much it is full.
func (h *handler) queue(p *proc, number, conn uint64) error {
	c := h.clients.Find(h.w, conn)
	if c == nil {
		return errNobody
	}
	h.answer(p, number, map[string]int{"bytes": c.QueueBytes(), "full": max(h.w.Limits.MaxQueue, 0) / 2}, nil)
	return nil
}

var errNobody = errors.New("connection: nobody of this worker has that number")

type memberInfo struct {
	Connection json.Number `json:"connection"`
	UID        string      `json:"uid,omitempty"`
}

func listed(members []worker.Member) []memberInfo {
	list := make([]memberInfo, 0, len(members))
	for _, m := range members {
		if n := worker.NumberOf(m.ID); n > 0 {
			list = append(list, memberInfo{json.Number(strconv.FormatUint(n, 10)), m.UID})
		}
	}
	return list
}
