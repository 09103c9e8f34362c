// Ratchet's chat component: the others receive what one sends, with the
// sender's id in front.
//
//	public function onMessage(ConnectionInterface $from, $msg) {
//	    foreach ($this->clients as $client)
//	        if ($from !== $client) $client->send($from->resourceId . ':' . $msg);
//	}
//	IoServer::factory(new HttpServer(new WsServer(new Pusher)), 19920)->run();
//
// There is no list of clients to keep: Broadcast knows them, in all processes.
//
// Start it with `go run ./examples/ratchet-pusher start`, then open
// http://127.0.0.1:19920/ (index.html) in two tabs.
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
	w := worker.New("websocket://0.0.0.0:19920")
	w.Name = "pusher"
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		w.Broadcast(worker.Text(c.ID()+":"+m.String()), worker.Except(c))
	}

	files := http.FileServerFS(page)
	w.OnRequest = func(res *worker.Response, req *worker.Request) {
		files.ServeHTTP(res, req.Request)
	}
	cmd.Run(w)
}
