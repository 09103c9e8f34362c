package main

import (
	"io"
	"net"
	"net/url"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// One goroutine per connection, without net/http: the upgrade is read from the
// socket itself and no buffer stays, as the README's second example does.
func gobwasServer(addr string, _ int, ready func()) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ready()
	var rooms rooms[*gobwasMember]
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		go gobwasServe(c, &rooms)
	}
}

// gobwasMember is a connection that several goroutines write to.
type gobwasMember struct {
	net.Conn
	writing sync.Mutex
}

func (m *gobwasMember) Write(b []byte) (int, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	return m.Conn.Write(b)
}

func gobwasServe(c net.Conn, rooms *rooms[*gobwasMember]) {
	defer c.Close()
	chat, room, err := upgrade(c)
	if err != nil {
		return
	}
	me := &gobwasMember{Conn: c}
	if chat {
		rooms.join(room, me)
		defer rooms.leave(room, me)
	}
	for {
		data, op, err := wsutil.ReadClientData(me)
		if err != nil {
			return
		}
		frame := ws.MustCompileFrame(ws.NewFrame(op, true, data)) // encoded once
		if !chat {
			_, _ = me.Write(frame)
			continue
		}
		rooms.others(room, me, func(m *gobwasMember) { _, _ = m.Write(frame) })
	}
}

// upgrade answers the handshake and says what the path asks for.
func upgrade(c io.ReadWriter) (chat bool, room string, err error) {
	u := ws.Upgrader{OnRequest: func(uri []byte) error {
		request, err := url.ParseRequestURI(string(uri))
		if err != nil {
			return ws.RejectConnectionError(ws.RejectionStatus(400))
		}
		chat, room = request.Path == "/chat", request.Query().Get("room")
		return nil
	}}
	_, err = u.Upgrade(c)
	return chat, room, err
}
