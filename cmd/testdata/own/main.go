// Command own is a program with workers of its own, for the tests.
package main

import (
	"errors"
	"os"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

func main() {
	ws := worker.New("websocket://127.0.0.1:6552")
	ws.Name, ws.Count = "ws", 2
	ws.OnConnect = func(c *worker.Conn) { c.Join("all") }
	ws.OnWorkerStart = func(*worker.Worker) error {
		if os.Getenv("OWN_FAILS") != "" {
			return errors.New("no database")
		}
		return nil
	}
	in := worker.New("udp://127.0.0.1:6553")
	in.Name, in.Count = "in", 1
	in.OnMessage = func(_ *worker.Conn, m worker.Message) { in.Publish("all", m) }
	cmd.Program{LogFile: "own.log", Workers: []*worker.Worker{ws, in}}.Main()
}
