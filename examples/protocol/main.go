// A packet protocol of one's own, as the classes of Workerman's Protocols
// folder with their input, decode and encode: netstring.go. The name that it
// is registered under is the scheme to listen on.
//
//	$worker = new Worker('Netstring://0.0.0.0:7000');
//	$worker->onMessage = fn ($connection, $data) => $connection->send("You said: $data");
//
// Start it with `go run ./examples/protocol start`; the client is
// `php examples/protocol/client.php hello`.
package main

import (
	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

func main() {
	w := worker.New("netstring://0.0.0.0:7000")
	w.Name = "netstring"
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		c.SendText("You said: " + m.String())
	}
	cmd.Run(w)
}
