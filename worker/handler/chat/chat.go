// Package chat is the handler "chat": what a client sends goes unchanged to
// everyone else in its room, in whatever process they are.
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/login"
	"github.com/pushd/pushd/worker/handler/past"
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

// Options of the route. Without a secret everyone may come.
type Options struct {
	Rooms *bool `json:"rooms"` // ?room= chooses the room; default true
	Greet bool  `json:"greet"` // tell the client that it is in, and the others that one has left
	login.Options
	past.Access
}

// Handler is one chat.
type Handler struct {
	rooms, greet bool
	open         bool // a client needs no token for a room
	channels     []string
	past         past.Access
	door         *login.Door
	w            *worker.Worker
}

// New makes a chat of its options.
func New(o worker.Options) (worker.Handler, error) {
	var opt Options
	if err := o.Decode(&opt); err != nil {
		return nil, err
	}
	opt.Anonymous = opt.Anonymous || !opt.Any()
	for _, name := range opt.Channels {
		if strings.HasPrefix(name, prefix) {
			return nil, fmt.Errorf("options: channels: %q is a room: a client is in one, which ?room= or its token names", name)
		}
	}
	door, err := login.New(opt.Options)
	if err == nil {
		err = opt.Access.Check(opt.Anonymous)
	}
	if err != nil {
		return nil, err
	}
	return &Handler{
		rooms: opt.Rooms == nil || *opt.Rooms, greet: opt.Greet, open: opt.Anonymous, channels: opt.Channels, past: opt.Access, door: door,
	}, nil
}

// OnWorkerStart keeps the worker to publish by, and fetches keys that come from
// a URL.
func (h *Handler) OnWorkerStart(w *worker.Worker) error {
	h.w = w
	h.door.Start()
	return nil
}

// OnHandshake finds out who comes, and the room.
func (h *Handler) OnHandshake(c *worker.Conn, hs *worker.Handshake) {
	query := hs.Query()
	hs.ForgetQuery()
	claims, ok := h.door.Admit(c, hs, query)
	if !ok {
		return
	}
	name := ""
	if h.rooms {
		name = query.Get("room")
	}
	if !valid(name) {
		hs.Refuse(http.StatusBadRequest, fmt.Sprintf("room: at most %d bytes of printable text", maxRoom))
		return
	}
	room, others := h.place(name, claims.Channels)
	if room == "" {
		hs.Refuse(http.StatusForbidden, `the token does not name this room: its claim channels needs "chat:NAME"`)
		return
	}
	after, ok := h.past.Ask(c, hs, query, h.open)
	if !ok {
		return
	}
	if room != lobby {
		_ = c.Set(roomKey, room)
	}
	if err := guest(c, session{claims.Subject, others, after}); err != nil {
		login.TooLarge(hs)
	}
}

// place returns the room of a client that asks for the one of that name, "" if
// it may not have it, and what else its token lets it listen to. Who asks for
// none gets the first that the token names.
func (h *Handler) place(name string, channels []string) (room string, others []string) {
	var rooms []string
	for _, channel := range channels {
		if strings.HasPrefix(channel, prefix) {
			rooms = append(rooms, channel)
		} else {
			others = append(others, channel)
		}
	}
	switch {
	case name != "":
		room = prefix + name
	case len(rooms) > 0:
		room = rooms[0]
	default:
		room = lobby
	}
	if !h.open && !slices.Contains(rooms, room) {
		return "", nil
	}
	return room, others
}

// loginKey is the session value, from OnHandshake to OnConnect, of what a token
// says beside the room.
const loginKey = "chat"

type session struct {
	UID      string   `json:"u,omitempty"`
	Channels []string `json:"c,omitempty"`
	After    string   `json:"a,omitempty"` // position
}

// guest keeps what a client has said for OnConnect; most have said nothing.
func guest(c *worker.Conn, s session) error {
	raw, err := json.Marshal(s)
	if err != nil || string(raw) == "{}" {
		return err
	}
	return c.Set(loginKey, string(raw))
}

// OnConnect enters the room. From then on the channel that the client is in says
// which it is, and the session value is not needed: it would take more memory
// than all else that chat has of an idle client.
func (h *Handler) OnConnect(c *worker.Conn) {
	room := c.Get(roomKey)
	if room == "" {
		room = lobby
	}
	var s session
	if raw := c.Get(loginKey); raw != "" {
		_ = json.Unmarshal([]byte(raw), &s) // ours
		_ = c.Set(loginKey, "")
	}
	h.past.Join(c, room, s.After, h.open)
	if c.Joining(room) {
		_ = c.Set(roomKey, room) // where it speaks until it is in
	} else {
		_ = c.Set(roomKey, "")
	}
	h.identify(c, &s)
	h.door.Watch(c)
	if h.greet {
		_ = c.SendText(Welcome)
	}
}

// identify does what the client has beside the room.
func (h *Handler) identify(c *worker.Conn, s *session) {
	for _, name := range h.channels {
		h.past.Join(c, name, s.After, h.open)
	}
	if s.UID != "" {
		c.Bind(s.UID)
	}
	for _, name := range s.Channels {
		h.past.Join(c, name, s.After, false)
	}
}

// OnRecovery is the moment at which a client is in its room, if that has a
// history that it has asked for.
func (h *Handler) OnRecovery(c *worker.Conn, r *worker.Recovery) {
	if r.Channel == c.Get(roomKey) {
		_ = c.Set(roomKey, "")
	}
	past.Tell(c, r)
}

// OnPosition makes a message for clients that are told positions.
func (h *Handler) OnPosition(p *worker.Published) worker.Message { return past.Message(p) }

// OnResume drops the value that the version before kept for good, and goes on
// watching.
func (h *Handler) OnResume(c *worker.Conn) {
	if !c.Joining(c.Get(roomKey)) {
		_ = c.Set(roomKey, "")
	}
	h.door.Watch(c)
}

// OnMessage passes m on.
func (h *Handler) OnMessage(c *worker.Conn, m worker.Message) {
	h.publish(c, m)
}

// OnClose tells the others.
func (h *Handler) OnClose(c *worker.Conn, _ error) {
	h.door.Forget(c)
	if h.greet {
		h.publish(c, worker.Text(Farewell))
	}
}

// publish sends m to the room of c. It closes a client whose message cannot be
// taken, so that none is lost in silence. One that the back end has taken out of
// all rooms talks to nobody.
func (h *Handler) publish(c *worker.Conn, m worker.Message) {
	room := c.Channel(prefix)
	if waits := c.Get(roomKey); room == "" && waits != "" && c.Joining(waits) {
		room = waits
	}
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
