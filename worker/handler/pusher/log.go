package pusher

import (
	"time"

	"github.com/pushd/pushd/worker"
)

// quiet lets a line into the log once a second and counts the others.
type quiet struct {
	next    time.Time
	skipped int
}

// refuse logs why something was refused: the client learns less, since it may
// be guessing.
func (p *process) refuse(c *worker.Conn, reason string, args ...any) {
	q := &p.refused
	now := time.Now()
	if now.Before(q.next) {
		q.skipped++
		return
	}
	if q.skipped > 0 {
		args = append(args, "not_logged", q.skipped)
	}
	*q = quiet{next: now.Add(time.Second)}
	p.log.Warn("pusher: refused", append([]any{"reason", reason, "ip", c.RemoteIP()}, args...)...)
}

// clip shortens what a client chose to what a log can bear.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
