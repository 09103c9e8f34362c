// Package chat is the handler "chat": what a client sends goes unchanged to
// everyone else in its room, in whatever process they are.
package chat

import (
	"errors"
	"fmt"
	"net/http"
	"unicode"
	"unicode/utf8"

	"github.com/pushd/pushd/worker"
)

func init() {
	worker.RegisterHandler("chat", New)
	worker.OwnChannels("chat", "the rooms of the handler chat")
}

// What a room hears when greetings are on.
const (
	Welcome  = "Connected successfully!"
	Farewell = "A user has left"
)

// A room is a channel: a back end talks to the room NAME by publishing to
// "chat:NAME", and takes a client elsewhere by having it leave and join.
const (
	prefix  = "chat:"
	lobby   = prefix + "lobby" // the room of those who ask for none
	roomKey = "room"           // session value from OnHandshake to OnConnect: the channel
	maxRoom = 100              // bytes of a room's name
)

// Options of the route.
type Options struct {
	Rooms *bool `json:"rooms"` // ?room= chooses the room; default true
	Greet bool  `json:"greet"` // tell the client that it is in, and the others that one has left
}

// Handler is one chat.
type Handler struct {
	rooms, greet bool
	w            *worker.Worker
}

// New makes a chat of its options.
func New(o worker.Options) (worker.Handler, error) {
	var opt Options
	if err := o.Decode(&opt); err != nil {
		return nil, err
	}
	return &Handler{rooms: opt.Rooms == nil || *opt.Rooms, greet: opt.Greet}, nil
}

// OnWorkerStart keeps the worker to publish by.
func (h *Handler) OnWorkerStart(w *worker.Worker) error {
	h.w = w
	return nil
}

// OnHandshake finds the room.
func (h *Handler) OnHandshake(c *worker.Conn, hs *worker.Handshake) {
	if !h.rooms || c.RawQuery() == "" {
		return
	}
	name := hs.Query().Get("room")
	hs.ForgetQuery()
	if !valid(name) {
		hs.Refuse(http.StatusBadRequest, fmt.Sprintf("room: at most %d bytes of printable text", maxRoom))
		return
	}
	if name != "" {
		_ = c.Set(roomKey, prefix+name)
	}
}

// OnConnect enters the room. From then on the channel that the client is in says
// which it is, and the session value is not needed: it would take more memory
// than all else that chat has of an idle client.
func (h *Handler) OnConnect(c *worker.Conn) {
	room := c.Get(roomKey)
	if room == "" {
		room = lobby
	}
	c.Join(room)
	_ = c.Set(roomKey, "")
	if h.greet {
		_ = c.SendText(Welcome)
	}
}

// OnResume drops the value that the version before kept for good.
func (h *Handler) OnResume(c *worker.Conn) { _ = c.Set(roomKey, "") }

// OnMessage passes m on.
func (h *Handler) OnMessage(c *worker.Conn, m worker.Message) {
	h.publish(c, m)
}

// OnClose tells the others.
func (h *Handler) OnClose(c *worker.Conn, _ error) {
	if h.greet {
		h.publish(c, worker.Text(Farewell))
	}
}

// publish sends m to the room of c. It closes a client whose message cannot be
// taken, so that none is lost in silence. One that the back end has taken out of
// all rooms talks to nobody.
func (h *Handler) publish(c *worker.Conn, m worker.Message) {
	room := c.Channel(prefix)
	if room == "" {
		return
	}
	switch err := h.w.Publish(room, m, worker.Except(c)); {
	case errors.Is(err, worker.ErrTooLarge):
		c.Close(1009, "message is too large")
	case err != nil:
		c.Close(1013, "try again later") // the broker is busy or away
	}
}

func valid(name string) bool {
	if len(name) > maxRoom || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
