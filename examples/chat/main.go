// The chat room that every socket tutorial writes: what one says, all others
// hear. In raw PHP it is a loop over $clients that leaves out the sender:
//
//	foreach ($clients as $client) { if ($client !== $sender) fwrite($client, $message); }
//
// Here that is one call, and it reaches the clients of all processes.
//
// Start it with `go run ./examples/chat start`, then open
// http://127.0.0.1:8080/ (index.html) in two tabs.
package main

import (
	"embed"
	"net/http"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

//go:embed index.html
var page embed.FS

func main() {
	w := worker.New("websocket://0.0.0.0:8080")
	w.Name = "chat"
	w.OnConnect = func(c *worker.Conn) {
		c.SendText("Connected successfully!")
	}
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		w.Broadcast(m, worker.Except(c))
	}
	w.OnClose = func(c *worker.Conn, err error) {
		w.Broadcast(worker.Text("A user has left"), worker.Except(c))
	}

	files := http.FileServerFS(page)
	w.OnRequest = func(res *worker.Response, req *worker.Request) {
		files.ServeHTTP(res, req.Request)
	}
	cmd.Run(w)
}
