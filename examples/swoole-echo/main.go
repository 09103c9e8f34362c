// Swoole's first WebSocket server: open, message, close.
//
//	$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
//	$server->on('open', fn ($server, $request) => …);
//	$server->on('message', fn ($server, $frame) => $server->push($frame->fd, '已收到你的消息:' . $frame->data));
//	$server->on('close', fn ($server, $fd) => …);
//
// Start it with `go run ./examples/swoole-echo start`, then open
// http://127.0.0.1:9501/ (index.html).
package main

import (
	"embed"
	"fmt"
	"net/http"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

//go:embed index.html
var page embed.FS

func main() {
	w := worker.New("websocket://0.0.0.0:9501")
	w.Name = "swoole-echo"
	w.OnConnect = func(c *worker.Conn) {
		fmt.Println("open", c.ID())
	}
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		c.SendText("已收到你的消息:" + m.String())
	}
	w.OnClose = func(c *worker.Conn, err error) {
		fmt.Println("close", c.ID())
	}

	files := http.FileServerFS(page)
	w.OnRequest = func(res *worker.Response, req *worker.Request) {
		files.ServeHTTP(res, req.Request)
	}
	cmd.Run(w)
}
