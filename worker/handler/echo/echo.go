// Package echo is the handler "echo": it sends every message back, with the
// same opcode.
package echo

import "github.com/pushd/pushd/worker"

func init() { worker.RegisterHandler("echo", New) }

// Handler echoes. It keeps no state.
type Handler struct{}

// New takes no options.
func New(o worker.Options) (worker.Handler, error) {
	return Handler{}, o.Decode(&struct{}{})
}

// OnMessage sends m back.
func (Handler) OnMessage(c *worker.Conn, m worker.Message) { _ = c.Send(m) }
