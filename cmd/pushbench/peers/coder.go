package main

import (
	"net/http"

	"github.com/coder/websocket"
)

// One goroutine per connection; writes are safe from any.
var coderOptions = &websocket.AcceptOptions{InsecureSkipVerify: true} // any Origin, no compression

func coderEcho(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, coderOptions)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, data); err != nil {
			return
		}
	}
}

var coderRooms rooms[*websocket.Conn]

func coderChat(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, coderOptions)
	if err != nil {
		return
	}
	defer c.CloseNow()
	room := roomName(r)
	coderRooms.join(room, c)
	defer coderRooms.leave(room, c)
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		coderRooms.others(room, c, func(m *websocket.Conn) { _ = m.Write(r.Context(), kind, data) })
	}
}
