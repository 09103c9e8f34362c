// Workerman's named server of four processes that greets every client each
// second:
//
//	$worker = new Worker('websocket://0.0.0.0:2346');
//	$worker->name  = 'WebSocket';
//	$worker->count = 4;
//	$worker->onWorkerStart = fn ($worker) => Timer::add(1, function () use ($worker) {
//	    foreach ($worker->connections as $connection) $connection->send('Welcome!');
//	});
//
// In Workerman $worker->connections are those of one process, so all four have
// to run the timer. Here one process does, and Broadcast reaches all.
//
// Start it with `go run ./examples/workerman start`, then open
// http://127.0.0.1:2346/ (index.html).
package main

import (
	"embed"
	"fmt"
	"net/http"
	"time"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

//go:embed index.html
var page embed.FS

func main() {
	w := worker.New("websocket://0.0.0.0:2346")
	w.Name = "WebSocket"
	w.Count = 4
	w.OnWorkerStart = func(w *worker.Worker) error {
		if w.Slot() == 0 { // one of the four: a broadcast is for all of them
			w.Every(time.Second, func() { w.Broadcast(worker.Text("Welcome!")) })
		}
		return nil
	}
	w.OnConnect = func(c *worker.Conn) {
		fmt.Println("New connection")
	}
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		fmt.Println("Received: " + m.String())
	}
	w.OnClose = func(c *worker.Conn, err error) {
		fmt.Println("Connection closed")
	}

	files := http.FileServerFS(page)
	w.OnRequest = func(res *worker.Response, req *worker.Request) {
		files.ServeHTTP(res, req.Request)
	}
	cmd.Run(w)
}
