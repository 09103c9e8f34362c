package pusher

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// goodbye is why a connection is not served: an error event, then a close.
type goodbye struct {
	code    int
	message string
}

// OnHandshake lets every client in: one that cannot be served is told so by the
// codes of the protocol, which no HTTP status can. The query is kept only for
// that.
func (h *Handler) OnHandshake(c *worker.Conn, hs *worker.Handshake) {
	if c.Param("key") == "" {
		hs.Refuse(http.StatusNotFound, "WebSockets are at /app/{key}: give the handler pusher that route")
		return
	}
	if c.Full() {
		hs.TellFull()
		return
	}
	if checkVersion(hs.Query()) == nil {
		c.SetPositions(hs.Query().Get("recover") == "1")
		hs.ForgetQuery()
		h.awaitRoom(h.app(c), hs)
	}
}

// checkVersion judges the query of a handshake.
func checkVersion(q url.Values) *goodbye {
	v := q.Get("protocol")
	if v == "" {
		return nil
	}
	n, err := strconv.Atoi(v)
	switch {
	case err != nil:
		return &goodbye{wire.CodeBadVersion, "protocol is no number"}
	case n < wire.ProtocolMin || n > wire.ProtocolMax:
		return &goodbye{wire.CodeProtocol, "protocol version is not supported: use 7"}
	}
	return nil
}

// OnConnect greets the client.
func (h *Handler) OnConnect(c *worker.Conn) {
	if isCarrier(c) {
		h.carrierHere(c)
		return
	}
	if s := h.sessionOf(c); s != nil {
		c.Join(s.Channel)
	}
	if bye := h.admit(c); bye != nil {
		_ = c.Set(refusedKey, "1")
		_ = c.Send(worker.Message{Data: wire.Error(bye.code, bye.message)})
		c.Close(bye.code, bye.message)
		return
	}
	a := h.app(c)
	_ = c.Send(worker.Message{Data: wire.Established(c.ID(), int(a.ActivityTimeout/time.Second))})
	h.connected(c, a)
	a.connections++
	h.expectProof(c, a, a.AnonymousTimeout)
}

// admit says why the client cannot be served, nil if it can; then it has its
// place in the app.
func (h *Handler) admit(c *worker.Conn) *goodbye {
	if c.Full() {
		return noPlace
	}
	if q := c.RawQuery(); q != "" {
		if bye := checkVersion(worker.ParseQuery(q)); bye != nil {
			return bye
		}
	}
	switch a := h.app(c); {
	case a == nil:
		h.refuse(c, "there is no app of this key", "key", clip(c.Param("key")))
		return &goodbye{wire.CodeNoApp, "there is no app of this key"}
	case a.Disabled:
		return &goodbye{wire.CodeDisabled, "the app is disabled"}
	case !a.takeRoom(c):
		h.refuse(c, "the app is at its max_connections", "app", a.ID)
		return &goodbye{wire.CodeOverQuota, "the app has too many connections"}
	}
	return nil
}

// OnResume takes a connection over from the previous process.
func (h *Handler) OnResume(c *worker.Conn) {
	if isCarrier(c) {
		h.carrierHere(c)
		return
	}
	a := h.app(c)
	if a == nil { // was taken out of the config
		c.Close(wire.CodeNoApp, "there is no app of this key")
		return
	}
	a.keepRoom(c)
	a.connections++
	h.resume(c, a)
	h.resumeProof(c, a)
	if isSession(c) {
		h.resumeSession(c)
	}
}

// OnClosing takes a connection that is told to go out of its channels, without
// waiting for its client to answer.
func (h *Handler) OnClosing(c *worker.Conn) {
	if s := h.sessionOf(c); s != nil {
		c.Leave(s.Channel) // requests do not find it any more
	}
	if a := h.app(c); a != nil && c.Get(refusedKey) == "" {
		h.end(c, a)
		a.giveRoom(c)
	}
}

// OnClose ends what the connection had.
func (h *Handler) OnClose(c *worker.Conn, err error) {
	if isCarrier(c) {
		h.carrierOver(c, err)
		return
	}
	if isSession(c) {
		h.forgetSession(c)
	}
	h.events.forget(c)
	h.subscriptions.forget(c)
	a := h.app(c)
	if a == nil || c.Get(refusedKey) != "" {
		return
	}
	a.connections--
	h.end(c, a)
	h.disconnected(c, a, err)
}

// OnTimeout tells a silent client, should it still hear, to reconnect at once.
func (h *Handler) OnTimeout(c *worker.Conn) {
	c.Close(wire.CodeNoPong, "pong was not received in time")
}

// OnMessage obeys one message.
func (h *Handler) OnMessage(c *worker.Conn, m worker.Message) {
	a := h.app(c)
	if a == nil || m.Binary {
		if m.Binary {
			h.complain(c, 0, "messages are text")
		}
		return
	}
	msg, err := wire.Parse(m.Data)
	if err != nil {
		h.complain(c, 0, err.Error())
		return
	}
	switch msg.Event {
	case wire.EventPing:
		_ = c.Send(worker.Message{Data: wire.Pong})
	case wire.EventPong:
	case wire.EventSubscribe:
		h.subscribe(c, a, msg.Data)
	case wire.EventUnsubscribe:
		h.unsubscribe(c, a, msg.Data)
	case wire.EventSignin:
		h.signin(c, a, msg.Data)
	default:
		if !wire.IsClientEvent(msg.Event) {
			h.complain(c, 0, "there is no such event for clients to send")
			return
		}
		h.clientEvent(c, a, msg)
	}
}

// complain tells the client what was wrong with its message.
func (h *Handler) complain(c *worker.Conn, code int, message string) {
	_ = c.Send(worker.Message{Data: wire.Error(code, message)})
}
