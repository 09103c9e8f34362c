package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// peer is a small WebSocket server: /echo, /chat?room= and POST /v1/publish.
// It can be told to do one thing wrong, now and then.
type peer struct {
	fault  string // "", drop, duplicate, swap, corrupt, close, cut (as too slow), stall, bounce (to the sender too)
	every  int64  // which of the messages suffer
	count  atomic.Int64
	greet  string
	key    string
	pongs  atomic.Int64 // of the protocol of Centrifugo
	late   atomic.Int64 // ns by which the first publish is answered after its delivery
	server *httptest.Server

	mu    sync.Mutex
	rooms map[string]map[*link]bool
	conns map[net.Conn]bool
}

// link is one connection of the peer.
type link struct {
	net.Conn
	mu   sync.Mutex
	held []byte // a frame kept back, to swap it with the next
}

// startPeer serves until the test ends, and then no connection is left.
func startPeer(t *testing.T, p *peer) (ws, api string) {
	t.Helper()
	p.rooms, p.conns = map[string]map[*link]bool{}, map[net.Conn]bool{}
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, "") })
	mux.HandleFunc("/chat", func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, "chat:"+r.URL.Query().Get("room")) })
	mux.HandleFunc("/connection/websocket", func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, centrifugoRoom) })
	mux.HandleFunc("POST /v1/publish", p.publish)
	mux.HandleFunc("POST /api/publish", p.publish)
	p.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		p.server.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for c := range p.conns {
			_ = c.Close()
		}
	})
	address := strings.TrimPrefix(p.server.URL, "http")
	return "ws" + address, "http" + address
}

func (p *peer) serve(w http.ResponseWriter, r *http.Request, room string) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	l := &link{Conn: conn}
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	p.join(l, room)
	defer p.leave(l, room)
	if p.greet != "" {
		l.write(frameOf(1, []byte(p.greet)))
	}
	for {
		op, data, err := readFrame(buffered.Reader)
		switch {
		case err != nil:
			return
		case op == 8:
			l.write(frameOf(8, data))
			return
		case op > 8:
		case room == centrifugoRoom:
			p.centrifugo(l, string(data))
		case room == "":
			p.deliver(l, op, data)
		default:
			p.relay(room, op, data, l)
		}
	}
}

// centrifugoRoom is where those are who speak Centrifugo's protocol; they hear of its
// channel "bench".
const centrifugoRoom = "centrifugo"

// centrifugo answers a command, and asks whether the client is there.
func (p *peer) centrifugo(l *link, command string) {
	switch command {
	case `{"id":1,"connect":{}}`:
		l.write(frameOf(1, []byte(`{"id":1,"connect":{"ping":25,"pong":true}}`)))
	case `{"id":2,"subscribe":{"channel":"bench"}}`:
		l.write(frameOf(1, []byte(`{"id":2,"subscribe":{}}`+"\n{}")))
	case `{}`:
		p.pongs.Add(1)
	default:
		l.write(frameOf(1, []byte(`{"id":2,"error":{"code":102,"message":"unknown channel"}}`)))
	}
}

func (p *peer) join(l *link, room string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[l.Conn] = true
	if p.rooms[room] == nil {
		p.rooms[room] = map[*link]bool{}
	}
	p.rooms[room][l] = true
}

func (p *peer) leave(l *link, room string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, l.Conn)
	delete(p.rooms[room], l)
	_ = l.Close()
}

// relay delivers under the lock, so that all see one order.
func (p *peer) relay(room string, op byte, data []byte, except *link) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.rooms[room] {
		if l != except || p.fault == "bounce" {
			p.deliver(l, op, data)
		}
	}
	return len(p.rooms[room])
}

func (p *peer) publish(w http.ResponseWriter, r *http.Request) {
	var request struct{ Channel, Data string }
	if r.Header.Get("Authorization") != "Bearer "+p.key && r.Header.Get("X-API-Key") != p.key || json.NewDecoder(r.Body).Decode(&request) != nil {
		http.Error(w, `{"error":"bad key or body"}`, http.StatusUnauthorized)
		return
	}
	room, data := request.Channel, []byte(request.Data)
	if room == "bench" {
		room, data = centrifugoRoom, fmt.Appendf(nil, `{"push":{"channel":"bench","pub":{"data":%q}}}`, data)
	}
	n := p.relay(room, 1, data, nil)
	time.Sleep(time.Duration(p.late.Swap(0)))
	_ = json.NewEncoder(w).Encode(map[string]any{"reached": n, "complete": true})
}

// deliver sends one message, or does to it what the fault says.
func (p *peer) deliver(l *link, op byte, data []byte) {
	l.mu.Lock()
	held := l.held
	l.held = nil
	l.mu.Unlock()
	frame := frameOf(op, data)
	if p.every > 0 && p.count.Add(1)%p.every == 0 {
		switch p.fault {
		case "drop":
			frame = nil
		case "duplicate":
			frame = slices.Concat(frame, frame)
		case "corrupt":
			frame[len(frame)-1] ^= 1
		case "close":
			frame = frameOf(8, []byte{1011 >> 8, 1011 & 0xff})
		case "cut":
			frame = frameOf(8, []byte{1013 >> 8, 1013 & 0xff})
		case "stall":
			time.Sleep(300 * time.Millisecond)
		case "swap":
			l.mu.Lock()
			l.held = frame
			l.mu.Unlock()
			frame = nil
		}
	}
	l.write(slices.Concat(frame, held))
}

func (l *link) write(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.Conn.Write(b)
}

func frameOf(op byte, data []byte) []byte {
	b := []byte{0x80 | op}
	switch n := len(data); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, data...)
}

// readFrame reads one unfragmented, masked frame.
func readFrame(r *bufio.Reader) (op byte, data []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1] & 0x7f)
	if extra := map[uint64]int{126: 2, 127: 8}[n]; extra > 0 {
		wide := make([]byte, 8)
		if _, err := io.ReadFull(r, wide[8-extra:]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(wide)
	}
	data = make([]byte, 4+n)
	if _, err := io.ReadFull(r, data); err != nil {
		return 0, nil, err
	}
	mask := data[:4]
	data = data[4:]
	for i := range data {
		data[i] ^= mask[i%4]
	}
	return head[0] & 15, data, nil
}
