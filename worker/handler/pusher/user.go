package pusher

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// Session values. Only connections that need them have any.
const (
	refusedKey = "refused"  // "1": the connection was told to go
	userKey    = "user"     // user_data of the user who signed in
	memberKey  = "member:"  // and a presence channel's name: user id, NUL, user_info behind a space if the id is a number
	recoverKey = "recover:" // and a channel's name that the keeper has yet to grant: the position that the client has of it
	provenKey  = "proven"   // "1": the connection had a private channel before anonymous_timeout was over
)

// user returns who is signed in, an empty one when nobody is.
func (p *process) user(c *worker.Conn) wire.User {
	data := c.Get(userKey)
	if data == "" {
		return wire.User{}
	}
	u, _ := wire.ParseUser(data, 0) // was valid when it was stored
	return u
}

// signin obeys pusher:signin. A user signs in once: to do so again changes
// nothing, so that nobody keeps the keeper busy by it.
func (h *Handler) signin(c *worker.Conn, a *app, data json.RawMessage) {
	if !h.mayChange(c, a) {
		h.complain(c, wire.CodeClientRate, "sign-ins come too fast")
		return
	}
	s, err := wire.ParseSignin(data)
	if err != nil {
		h.complain(c, 0, err.Error())
		return
	}
	if !wire.VerifyAuth(a.Key, a.Secret, wire.UserText(c.ID(), s.UserData), s.Auth) {
		h.refuse(c, "the sign-in's signature is wrong", "app", a.ID, "connection", c.ID())
		h.complain(c, wire.CodeUnauthorized, "the sign-in is not authorized")
		return
	}
	u, err := wire.ParseUser(s.UserData, a.MaxMember)
	if err != nil && !errors.Is(err, wire.ErrWatchlist) {
		h.complain(c, 0, err.Error())
		return
	}
	switch now := h.user(c).ID; now {
	case "":
		if c.Set(userKey, s.UserData) != nil {
			h.complain(c, 0, "user_data is too long")
			return
		}
		c.Bind(a.uid(u.ID))
		h.keeper.Signin(c.ID(), a.uid(u.ID), u.Watchlist)
	case u.ID:
	default:
		h.complain(c, wire.CodeUnauthorized, "the connection is signed in as another user")
		return
	}
	_ = c.Send(worker.Message{Data: wire.SigninSuccess(c.Get(userKey))})
	if err != nil {
		h.complain(c, wire.CodeWatchlist, err.Error())
	}
}

// setMember remembers who the connection is in a presence channel; it survives
// a hand-over with the other session values.
func setMember(c *worker.Conn, channel string, m wire.Member) error {
	info := string(m.Info)
	if m.Number {
		info = " " + cmp.Or(info, "null") // JSON all the same, for versions that know no such mark
	}
	return c.Set(memberKey+channel, m.ID+"\x00"+info)
}

// forgetMember undoes setMember.
func forgetMember(c *worker.Conn, channel string) { _ = c.Set(memberKey+channel, "") }

// told notes the form in which a channel's list tells the connection's member, so
// that its client events say the same.
func told(c *worker.Conn, channel string, list []byte) wire.Member {
	m := member(c, channel)
	was := m.Number
	if m = wire.Listed(list, m); m.Number != was {
		_ = setMember(c, channel, m) // without room the form is its own
	}
	return m
}

// member returns who the connection is in a presence channel.
func member(c *worker.Conn, channel string) (m wire.Member) {
	id, info, _ := strings.Cut(c.Get(memberKey+channel), "\x00")
	m.ID = id
	if info, m.Number = strings.CutPrefix(info, " "); info != "" {
		m.Info = json.RawMessage(info)
	}
	return m
}
