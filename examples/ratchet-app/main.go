// Ratchet's App: components by path, each with the origins that may connect.
//
//	$app = new Ratchet\App('localhost', 8080);
//	$app->route('/websocket', new Echo, ['localhost', '127.0.0.1']);
//	$app->run();
//
// A browser page of a listed host may connect, whatever its port; any other
// gets 403. A client without an Origin header is no browser and passes.
//
// Start it with `go run ./examples/ratchet-app start`, serve the page from a
// port of its own with `php -S localhost:3000 -t examples/ratchet-app`, and
// open http://localhost:3000/.
package main

import (
	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

// Echo is the component: it has the callbacks that it needs and no others.
type Echo struct{}

// OnMessage answers with what came.
func (Echo) OnMessage(c *worker.Conn, m worker.Message) {
	c.Send(m)
}

func main() {
	w := worker.New("websocket://127.0.0.1:8080")
	w.Name = "ratchet-app"
	w.Routes = []worker.Route{
		{Pattern: "/websocket", Handler: Echo{}, Origins: []string{"localhost", "127.0.0.1"}},
	}
	cmd.Run(w)
}
