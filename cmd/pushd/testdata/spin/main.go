// Command spin is a program with a fault, for the tests: the message "spin"
// keeps its callback, and with it the worker's loop, for ever.
package main

import (
	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

func main() {
	w := worker.New("websocket://127.0.0.1:2346")
	w.Name, w.Count = "push", 2
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		if string(m.Data) == "spin" {
			spin()
		}
		_ = c.Send(m)
	}
	cmd.Run(w)
}

// spin is to be found by its name in the log.
//
//go:noinline
func spin() {
	for {
	}
}
