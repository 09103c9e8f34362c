package main

import (
	"net/http"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// Pollers read without a goroutine per connection; messages are handled by a
// pool, as the library's server does by default.
func nbioServer(addr string, loops int, ready func()) error {
	logging.SetLevel(logging.LevelError)
	var rooms rooms[*websocket.Conn]
	chat := func(w http.ResponseWriter, r *http.Request) {
		room, u := roomName(r), nbioUpgrader()
		u.OnOpen(func(c *websocket.Conn) { rooms.join(room, c) })
		u.OnClose(func(c *websocket.Conn, _ error) { rooms.leave(room, c) })
		u.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, data []byte) {
			rooms.others(room, c, func(m *websocket.Conn) { _ = m.WriteMessage(kind, data) })
		})
		_, _ = u.Upgrade(w, r, nil)
	}
	echo := nbioUpgrader()
	echo.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, data []byte) { _ = c.WriteMessage(kind, data) })
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { _, _ = echo.Upgrade(w, r, nil) })
	mux.HandleFunc("/chat", chat)
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{addr}, NPoller: loops, Handler: mux,
		MaxLoad: 1_000_000, ReleaseWebsocketPayload: true,
	})
	if err := engine.Start(); err != nil {
		return err
	}
	ready()
	select {}
}

func nbioUpgrader() *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.CheckOrigin = func(*http.Request) bool { return true }
	return u
}
