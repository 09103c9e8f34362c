// Command recall is pushd with a handler whose clients do with channels what
// they say: the tests of history speak to it.
package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
	_ "github.com/pushd/pushd/worker/handler/pusher"
	"github.com/pushd/pushd/worker/history"
)

func init() {
	worker.RegisterHandler("recall", func(worker.Options) (worker.Handler, error) { return &recall{}, nil })
}

func main() { cmd.Main() }

type recall struct{ w *worker.Worker }

func (r *recall) OnWorkerStart(w *worker.Worker) error { r.w = w; return nil }

func (r *recall) OnConnect(c *worker.Conn) {
	c.SetPositions(c.RawQuery() != "plain")
	_ = c.SendText(c.ID())
}

// OnMessage takes "join CHANNEL [POSITION | last N]", "leave CHANNEL",
// "publish CHANNEL TEXT", "history CHANNEL" and "ping".
func (r *recall) OnMessage(c *worker.Conn, m worker.Message) {
	f := strings.SplitN(m.String(), " ", 3)
	switch f[0] {
	case "join":
		c.Join(f[1], option(f[2:]))
	case "leave":
		c.Leave(f[1])
	case "publish":
		if err := r.w.Publish(f[1], worker.Text(f[2])); err != nil {
			_ = c.SendText("error " + err.Error())
		}
	case "history":
		r.w.History(worker.HistoryQuery{Channel: f[1]}, func(p worker.HistoryPage, err error) {
			s := fmt.Sprint("history ", p.First, " ", p.Last, " ", err)
			for _, m := range p.Messages {
				s += fmt.Sprintf(" %d=%s", m.Offset, m.Data)
			}
			_ = c.SendText(s)
		})
	case "ping":
		_ = c.SendText("pong")
	}
}

func option(f []string) worker.JoinOption {
	if len(f) == 0 {
		return worker.From("", 0)
	}
	if n, ok := strings.CutPrefix(f[0], "last "); ok {
		n, _ := strconv.Atoi(n)
		return worker.Last(n)
	}
	epoch, offset, _ := strings.Cut(f[0], ":")
	n, _ := strconv.ParseUint(offset, 10, 64)
	return worker.From(epoch, n)
}

func (r *recall) OnRecovery(c *worker.Conn, rec *worker.Recovery) {
	s := fmt.Sprintf("joined %s %s %d %q", rec.Channel, rec.Position, rec.Count, rec.Reason)
	if rec.Again {
		s = "again" + strings.TrimPrefix(s, "joined")
	}
	_ = c.SendText(s)
}

func (r *recall) OnPosition(p *worker.Published) worker.Message {
	var at history.Position = p.Position
	return worker.Text(fmt.Sprintf("m %s %s %d %s", p.Channel, at, p.Prev, p.Message.Data))
}
