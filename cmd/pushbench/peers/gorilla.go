package main

import (
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// One goroutine per connection, which also writes what its client says to the
// others: cheaper in memory than the two of gorilla's chat example. Without
// buffer sizes the upgrader keeps the 4 KiB buffers of net/http.
var gorillaUpgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func gorillaEcho(w http.ResponseWriter, r *http.Request) {
	c, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, data, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(kind, data); err != nil {
			return
		}
	}
}

// gorillaMember is a connection that several goroutines write to.
type gorillaMember struct {
	*websocket.Conn
	writing sync.Mutex
}

var gorillaRooms rooms[*gorillaMember]

func gorillaChat(w http.ResponseWriter, r *http.Request) {
	c, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	me, room := &gorillaMember{Conn: c}, roomName(r)
	gorillaRooms.join(room, me)
	defer gorillaRooms.leave(room, me)
	for {
		kind, data, err := c.ReadMessage()
		if err != nil {
			return
		}
		prepared, err := websocket.NewPreparedMessage(kind, data) // encoded once
		if err != nil {
			return
		}
		gorillaRooms.others(room, me, func(m *gorillaMember) {
			m.writing.Lock()
			defer m.writing.Unlock()
			_ = m.WritePreparedMessage(prepared)
		})
	}
}
