// Package greet is a third-party handler: it answers a name with a greeting.
package greet

import "github.com/pushd/pushd/worker"

func init() { worker.RegisterHandler("greet", New) }

// Handler holds the options of its route.
type Handler struct {
	Greeting string `json:"greeting"`
}

// New reads the options; an unknown one fails `check`, `start` and `reload`.
func New(o worker.Options) (worker.Handler, error) {
	h := &Handler{Greeting: "Hello"}
	return h, o.Decode(h)
}

// OnMessage greets.
func (h *Handler) OnMessage(c *worker.Conn, m worker.Message) {
	c.SendText(h.Greeting + ", " + m.String() + "!")
}
