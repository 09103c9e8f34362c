package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	nethttp "net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pushd/pushd/protocol/http"
	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/record"
)

// transportPoll: a request that waits for a message (Response.Poll), which is the
// answer to it. What comes in one turn, or while joins wait for their history, is
// collected and goes out as one; then the connection speaks HTTP again.
var transportPoll = &transport{}

func init() {
	*transportPoll = transport{
		name: "poll", number: 5, behind: transportHTTP, flags: flagConnected | flagPaused | flagFull,
		talks: true, moves: true, stays: true,
		receive: func(_ *Conn, p []byte) []byte { return p }, // the next request, behind the answer
		collect: (*Conn).collect, encode: encodeItem,
		variant: (*Conn).pollVariant,
		goodbye: (*Conn).sayPollEnd, due: func(c *Conn) { c.loop.answerPoll(c) }, check: checkPoll,
		cut: errUnanswered,
	}
	register(transportPoll)
}

// errUnanswered is what OnClose of a poll gets whose client has left before the answer.
var errUnanswered = errors.New("the client left before the answer")

// poll is a request that waits.
type poll struct {
	held   held             // of the connection, which is this
	*terms                  // of the answer
	tell   bool             // even without a message: where the client is
	at     history.Position // where it is; zero = where it was
	items  []byte           // collected, with a comma behind each
	notes  int              // bytes of items, the first ones, that do not end the wait: see recovered
}

// waits reports whether there is nothing yet that the client is to be told at once.
func (p *poll) waits() bool { return !p.tell && len(p.items) == p.notes }

// terms are what most polls have in common, who share them; nobody changes them.
type terms struct {
	header  string // of the answer: lines
	closing bool   // the connection ends with it
	raw     bool   // the items are the answer, as they are
	idle    string // of a raw one: the answer when the time is over
}

// agreed returns t, or what says the same and was used last.
func (l *loop) agreed(t terms) *terms {
	if l.terms == nil || *l.terms != t {
		l.terms = new(t)
	}
	return l.terms
}

// Poll makes the request wait for up to d: for what comes to the connection, which
// is one like any other until then, and moves in a reload. OnConnect runs before
// Poll returns, and joins it to channels. The answer is, at once when something has
// come,
//
//	200 {"position":"EPOCH:OFFSET","messages":[…]}
//
// or 204 when the time is over; OnClose runs. Messages are what OnPosition makes
// of them, which must be JSON, else a text each. The position is the one to join
// After in the next poll; it is left out where no channel has a history. A join
// with the zero JoinOption is answered with its position at once. Where OnRecovery tells
// of a loss, and of no other position than the client has, what the handler sends then
// waits for company: the client would only come back to hear it again.
//
// Who comes to a process that is full or about to end gets 503 and Retry-After. It
// returns false when nothing waits.
func (w *Response) Poll(d time.Duration) bool {
	c, l := w.c, w.c.loop
	switch {
	case w.done || w.started || c.has(flagDead|flagEnd):
		return false
	case c.Full() || l.phase.leaving():
		w.header.Set("Retry-After", strconv.Itoa(int(comeBack()/time.Second)))
		w.fail(nethttp.StatusServiceUnavailable, "come back later")
		return false
	}
	w.header.Set("Content-Type", "application/json")
	return w.poll(d, terms{})
}

// PollRaw is Poll whose answer is what the connection has been sent, as it is, or
// idle when the time is over, with status 200 and the header's Content-Type.
func (w *Response) PollRaw(d time.Duration, idle string) bool {
	if w.done || w.started || w.c.has(flagDead|flagEnd) || w.c.Full() || w.c.loop.phase.leaving() {
		return false
	}
	return w.poll(d, terms{raw: true, idle: idle})
}

// poll makes the request one that waits.
func (w *Response) poll(d time.Duration, t terms) bool {
	c, l := w.c, w.c.loop
	w.header.Set("Cache-Control", "no-store")
	t.closing = w.closing
	for _, name := range slices.Sorted(maps.Keys(w.header)) { // the same for all of a kind
		for _, v := range w.header[name] {
			t.header += name + ":" + strings.NewReplacer("\r", " ", "\n", " ").Replace(v) + "\n"
		}
	}
	w.release()
	c.pend(poll{terms: l.agreed(t)})
	c.speak(transportPoll)
	l.expect(c, max(d, time.Second))
	l.reactor.Settle(c.sock)
	c.route.connect(c)
	return c.open()
}

// waiter is a poll and what else there is of its connection, in one object.
type waiter struct {
	extra
	poll
}

// pend makes p what waits.
func (c *Conn) pend(p poll) {
	w := &waiter{poll: p}
	if c.more != nil {
		w.extra = *c.more
	}
	w.poll.held.answer = &w.poll
	w.extra.held = &w.poll.held
	c.more = &w.extra
}

// poll returns what waits, nil for none.
func (c *Conn) poll() *poll {
	if c.more == nil || c.more.held == nil {
		return nil
	}
	p, _ := c.more.held.answer.(*poll)
	return p
}

// encodeItem appends a message as JSON.
func encodeItem(c *Conn, dst []byte, m Message) []byte {
	if p := c.poll(); p != nil && p.raw {
		return append(dst, m.Data...)
	}
	if json.Valid(m.Data) && !m.Binary {
		return append(append(dst, m.Data...), ',')
	}
	text, _ := json.Marshal(strings.ToValidUTF8(string(m.Data), string(utf8.RuneError)))
	return append(append(dst, text...), ',')
}

// pollVariant tells apart those whose answer is what it is.
func (c *Conn) pollVariant(int) variant {
	v := variant{transport: transportPoll}
	if p := c.poll(); p != nil && p.raw {
		v.bits = 1
	}
	return v
}

// collect takes items, each with a comma behind it.
func (c *Conn) collect(items []byte) {
	p, l := c.poll(), c.loop
	p.items = append(p.items, items...)
	if limit := l.w.Limits.MaxQueue; limit > 0 && len(p.items) >= limit/2 && !c.has(flagMoving) && c.sock.Valid() {
		l.answerPoll(c)
		return
	}
	l.polled = append(l.polled, c)
}

// stands notes where the client is, and whether it has to be told without a
// message.
func (c *Conn) stands(at history.Position, tell bool) {
	if p := c.poll(); p != nil {
		p.at, p.tell = at, p.tell || tell
		c.loop.polled = append(c.loop.polled, c)
	}
}

// recoveredPoll is recovered for a poll. Who is told that something is missing, and is no
// further with that, would come back at once to hear it again: what the handler says then
// goes out with what comes next, or when the time is over.
func (r *route) recoveredPoll(c *Conn, rec *Recovery) {
	here := rec.After == (history.Position{})
	again := !here && !rec.Recovered() && (rec.Reason == history.Off || rec.Position == rec.After)
	if rec.Reason != history.Off {
		c.stands(rec.Position, here || !again && !rec.Recovered())
	}
	p := c.poll()
	again = again && c.transport == transportPoll && !p.raw && p.waits()
	r.tellRecovery(c, rec)
	if again && c.poll() == p {
		p.notes = len(p.items)
	}
}

// answerPolls answers, at the end of a turn, those for whom something has come.
func (l *loop) answerPolls() {
	for len(l.polled) > 0 {
		c := l.polled[0]
		l.polled = l.polled[1:]
		if c.transport == transportCarried {
			if c.open() && c.sock.Valid() && len(c.Collected()) > 0 {
				c.route.carried(c, nil)
			}
			continue
		}
		if p := c.poll(); p != nil && !p.waits() && c.open() && !c.joins() && c.sock.Valid() {
			l.answerPoll(c)
		}
	}
	l.polled = nil
}

// answerPoll ends the wait.
func (l *loop) answerPoll(c *Conn) {
	p := c.poll()
	if l.cork.c == c {
		l.uncork()
	}
	closing := p.closing || l.phase.leaving()
	answer := p.answer(c, "", nil, closing)
	if c.has(flagConnected) {
		c.route.closed(c, nil)
	}
	if c.has(flagDead | flagEnd) {
		return
	}
	c.forgetSession()
	c.speak(transportHTTP)
	l.transmit(c, answer, nil)
	if closing {
		l.finishAfter(c, stageDrain)
		return
	}
	l.expect(c, keepAlive)
	l.resume(c)
}

// forgetSession makes the connection one that asks, perhaps for somebody else:
// nothing is left of who has asked before.
func (c *Conn) forgetSession() {
	l := c.loop
	l.stopTimers(c)
	l.hub.LeaveAll(c)
	l.recall.forget(c)
	c.clear(flagConnected | flagPaused | flagFull)
	x := c.extra()
	x.held, x.timers, x.err = nil, nil, nil
	for _, tag := range []byte{record.Value, record.Header, record.Positions, record.Query} {
		x.texts = x.texts.Without(tag)
	}
	c.shed()
}

// answer makes the whole answer; end is a further member of the object.
func (p *poll) answer(c *Conn, end string, more nethttp.Header, closing bool) []byte {
	h := more
	if h == nil {
		h = nethttp.Header{}
	}
	for line := range strings.SplitSeq(p.header, "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			h[name] = append(h[name], value)
		}
	}
	if p.raw {
		body := p.items
		if len(body) == 0 {
			body = []byte(p.idle)
		}
		head := http.AppendHead(make([]byte, 0, 512+len(body)), nethttp.StatusOK, h, len(body), closing, c.loop.date())
		return append(head, body...)
	}
	if len(p.items) == 0 && !p.tell && end == "" {
		h.Del("Content-Type")
		return http.AppendHead(nil, nethttp.StatusNoContent, h, 0, closing, c.loop.date())
	}
	body := []byte("{")
	if at := p.at.String(); at != "" && !c.joins() {
		body = append(append(append(body, `"position":"`...), at...), `",`...)
	}
	body = append(body, `"messages":[`...)
	if n := len(p.items); n > 0 {
		body = append(body, p.items[:n-1]...)
	}
	body = append(append(append(body, ']'), end...), '}')
	head := http.AppendHead(make([]byte, 0, 512+len(body)), nethttp.StatusOK, h, len(body), closing, c.loop.date())
	return append(head, body...)
}

// sayPollEnd answers one whose connection is to end: why, unless it is to come
// back, and then when.
func (c *Conn) sayPollEnd(code int, reason string) (answers bool) {
	p := c.poll()
	if p == nil {
		return false
	}
	end, h := "", nethttp.Header{}
	switch uint16(code) {
	case 0, websocket.CloseNormal:
	case websocket.CloseGoingAway, websocket.CloseRestart, websocket.CloseTryLater:
		h.Set("Retry-After", strconv.Itoa(int(comeBack()/time.Second)))
		p.items = p.items[p.notes:] // it is told when it is back
	default:
		why, _ := json.Marshal(reason)
		end = `,"close":{"code":` + strconv.Itoa(code) + `,"reason":` + string(why) + `}`
	}
	if l := c.loop; l.cork.c == c {
		l.uncork()
	}
	c.loop.transmit(c, p.answer(c, end, h, true), nil)
	p.items, p.notes, p.tell = nil, 0, false
	return false
}

// appendPoll appends what waits to the record.
func (c *Conn) appendPoll(dst []byte) []byte {
	p := c.poll()
	if p == nil {
		return dst
	}
	flags := byte(0)
	if p.closing {
		flags |= 1
	}
	if p.tell {
		flags |= 2
	}
	if p.raw {
		flags |= 4
	}
	v := binary.AppendUvarint([]byte{flags}, uint64(p.at.Epoch))
	v = binary.AppendUvarint(v, p.at.Offset)
	v = binary.AppendUvarint(v, uint64(len(p.header)))
	v = append(v, p.header...)
	if p.raw {
		v = append(binary.AppendUvarint(v, uint64(len(p.idle))), p.idle...)
	}
	dst = record.Append(dst, record.Poll, append(v, p.items...))
	if p.notes > 0 {
		dst = record.AppendNumber(dst, record.Notes, uint64(p.notes))
	}
	return dst
}

// notesOf reads how much does not end the wait. A reader that does not know it answers.
func (a *arrival) notesOf(v []byte) error {
	n, w := binary.Uvarint(v)
	if w != len(v) {
		return record.ErrDamaged
	}
	a.notes = n
	return nil
}

// pollOf reads it.
func (a *arrival) pollOf(v []byte) error {
	if len(v) == 0 || v[0] > 7 {
		return record.ErrDamaged
	}
	p, t := poll{tell: v[0]&2 != 0}, terms{closing: v[0]&1 != 0, raw: v[0]&4 != 0}
	var n [3]uint64
	v = v[1:]
	for i := range n {
		x, w := binary.Uvarint(v)
		if w <= 0 {
			return record.ErrDamaged
		}
		n[i], v = x, v[w:]
	}
	if n[0] > uint64(history.Stranger) || n[2] > uint64(len(v)) {
		return record.ErrDamaged
	}
	p.at = history.Position{Epoch: history.Epoch(n[0]), Offset: n[1]}
	t.header, v = string(v[:n[2]]), v[n[2]:]
	if t.raw {
		size, w := binary.Uvarint(v)
		if w <= 0 || size > uint64(len(v)-w) {
			return record.ErrDamaged
		}
		t.idle, v = string(v[w:w+int(size)]), v[w+int(size):]
	}
	p.terms, p.items = &t, append([]byte(nil), v...)
	a.c.pend(p)
	return nil
}

// checkPoll: a poll has what waits, and items that are some.
func checkPoll(a *arrival) error {
	p := a.c.poll()
	if p == nil || a.deadline == 0 || !p.raw && !p.valid() || a.notes > uint64(len(p.items)) {
		return record.ErrDamaged
	}
	p.notes = int(a.notes)
	return nil
}
