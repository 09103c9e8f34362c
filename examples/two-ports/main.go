// Swoole's server with two ports: browsers on a WebSocket, the back end on a
// UDP port of this machine.
//
//	$server = new Swoole\WebSocket\Server('0.0.0.0', 6552);
//	$server->addlistener('127.0.0.1', 6553, SWOOLE_SOCK_UDP);
//	$server->set(['log_file' => 'two-ports.log']);
//	$server->on('Message', …);  // remember the client's class
//	$server->on('Packet', …);   // push to the clients of that class
//
// A client says which class it belongs to, {"school_class_id":"1","school_id":"2"};
// a datagram names a class and carries data for it,
// {"school_class_id":"1","school_id":"2","data":"…"}.
//
// Start it with `go run ./examples/two-ports start`, open
// http://127.0.0.1:6552/ (index.html), and push with
// `php examples/two-ports/push.php 1 2 "The lesson begins"`.
//
// PUSHD_LISTEN=127.0.0.1:7000 moves the WebSocket port,
// PUSHD_LISTEN=websocket://127.0.0.1:7000,udp://127.0.0.1:7001 both.
package main

import (
	"embed"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

//go:embed index.html
var page embed.FS

// packet is what a client and the back end send; a client sends no data.
type packet struct {
	SchoolID string          `json:"school_id"`
	ClassID  string          `json:"school_class_id"`
	Data     json.RawMessage `json:"data"`
}

// parse reads a packet that names a class.
func parse(m worker.Message) (p packet, ok bool) {
	err := json.Unmarshal(m.Data, &p)
	return p, err == nil && p.SchoolID != "" && p.ClassID != ""
}

// channel is what the clients of a class have joined.
func (p packet) channel() string { return "school:" + p.SchoolID + ":class:" + p.ClassID }

// message is the data as clients receive it: the text of a JSON string, any
// other value as its JSON.
func (p packet) message() worker.Message {
	var text string
	if json.Unmarshal(p.Data, &text) != nil {
		text = string(p.Data)
	}
	return worker.Text(text)
}

// browsers is the WebSocket side.
func browsers() *worker.Worker {
	w := worker.New("websocket://0.0.0.0:6552")
	w.Name = "browsers"
	w.Count = 2
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		p, ok := parse(m)
		if !ok {
			slog.Warn("client names no class", "connection", c.ID())
			return
		}
		c.Join(p.channel())
		slog.Info("client joined", "connection", c.ID(), "channel", p.channel())
	}

	files := http.FileServerFS(page)
	w.OnRequest = func(res *worker.Response, req *worker.Request) {
		files.ServeHTTP(res, req.Request)
	}
	return w
}

// backend is the UDP side: a datagram is a message of a connection that lasts
// no longer than the call. One process keeps the datagrams in order.
func backend() *worker.Worker {
	w := worker.New("udp://127.0.0.1:6553")
	w.Name = "backend"
	w.Count = 1
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		p, ok := parse(m)
		if !ok || p.Data == nil {
			slog.Warn("datagram names no class or has no data", "from", c.RemoteAddr())
			return
		}
		if err := w.Publish(p.channel(), p.message()); err != nil {
			slog.Error("datagram not published", "channel", p.channel(), "error", err)
		}
	}
	return w
}

func main() {
	cmd.Program{
		LogFile: "two-ports.log",
		Workers: []*worker.Worker{browsers(), backend()},
	}.Main()
}
