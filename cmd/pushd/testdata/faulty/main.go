// Command faulty is pushd with a bug of every sort, for the test of the checker:
// the handler "faulty" echoes, or with ?room= passes on to the room, and does one
// thing wrong now and then. It logs what it did wrong once it is done, with the
// channel if there is one, for the test to wait for.
package main

import (
	"bytes"
	"cmp"
	"log/slog"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

func init() {
	worker.RegisterHandler("faulty", func(o worker.Options) (worker.Handler, error) {
		h := &handler{}
		return h, o.Decode(&h.options)
	})
}

func main() { cmd.Main() }

type handler struct {
	options struct {
		Fault string `json:"fault"` // "", drop, duplicate, swap, corrupt, close
	}
	w     *worker.Worker
	count int
	held  func() // a message kept back, to swap it with the next of its sender
	whose *worker.Conn
}

// every is which of the messages suffer.
const every = 40

func (h *handler) OnWorkerStart(w *worker.Worker) error { h.w = w; return nil }

func (h *handler) OnHandshake(c *worker.Conn, hs *worker.Handshake) {
	if room := hs.Query().Get("room"); room != "" {
		_ = c.Set("room", "chat:"+room)
	}
}

func (h *handler) OnConnect(c *worker.Conn) {
	if room := c.Get("room"); room != "" {
		c.Join(room)
	}
}

func (h *handler) OnMessage(c *worker.Conn, m worker.Message) {
	m.Data = bytes.Clone(m.Data)
	deliver := func() { h.deliver(c, m) }
	if h.held != nil && h.whose == c {
		deliver()
		h.held()
		h.held = nil
		h.did(c)
		return
	}
	if h.count++; h.count%every != 0 {
		deliver()
		return
	}
	switch h.options.Fault {
	case "drop":
	case "duplicate":
		deliver()
		deliver()
	case "corrupt":
		m.Data[len(m.Data)-1] ^= 1
		deliver()
	case "close":
		c.Close(1011, "a bug")
	case "swap":
		h.held, h.whose = deliver, c
		return // done with the next message
	default:
		deliver()
	}
	h.did(c)
}

func (h *handler) did(c *worker.Conn) {
	slog.Info("wrong", "fault", cmp.Or(h.options.Fault, "none"), "room", cmp.Or(c.Get("room"), "none"))
}

func (h *handler) deliver(c *worker.Conn, m worker.Message) {
	if room := c.Get("room"); room != "" {
		_ = h.w.Publish(room, m, worker.Except(c))
		return
	}
	_ = c.Send(m)
}
