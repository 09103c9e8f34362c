package main

import (
	"net/http"

	"github.com/lxzan/gws"
)

// One goroutine per connection, started anew so that what net/http held is let
// go, and a Broadcaster, as the README does.
func gwsServe(handler gws.Event, prepare func(*gws.Conn, *http.Request)) http.HandlerFunc {
	upgrader := gws.NewUpgrader(handler, nil)
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		prepare(c, r)
		go c.ReadLoop()
	}
}

func gwsEcho() http.HandlerFunc { return gwsServe(gwsEchoEvents{}, func(*gws.Conn, *http.Request) {}) }

type gwsEchoEvents struct{ gws.BuiltinEventHandler }

func (gwsEchoEvents) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (gwsEchoEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	_ = c.WriteMessage(m.Opcode, m.Bytes())
}

const gwsRoom = "room" // in the connection's session

func gwsChat() http.HandlerFunc {
	return gwsServe(&gwsChatEvents{}, func(c *gws.Conn, r *http.Request) { c.Session().Store(gwsRoom, roomName(r)) })
}

type gwsChatEvents struct {
	gwsEchoEvents
	rooms rooms[*gws.Conn]
}

func gwsRoomOf(c *gws.Conn) string {
	name, _ := c.Session().Load(gwsRoom)
	return name.(string)
}

func (h *gwsChatEvents) OnOpen(c *gws.Conn) { h.rooms.join(gwsRoomOf(c), c) }

func (h *gwsChatEvents) OnClose(c *gws.Conn, _ error) { h.rooms.leave(gwsRoomOf(c), c) }

func (h *gwsChatEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	b := gws.NewBroadcaster(m.Opcode, m.Bytes())
	defer b.Close()
	h.rooms.others(gwsRoomOf(c), c, func(member *gws.Conn) { _ = b.Broadcast(member) })
}
