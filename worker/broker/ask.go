package broker

import (
	"time"

	"github.com/pushd/pushd/worker"
)

var _ worker.Asker = (*Client)(nil)

// maxAnswers bounds what one question of Ask collects; more are dropped.
const maxAnswers = 256

// Ask implements worker.Asker.
func (c *Client) Ask(q worker.BusQuery, wait time.Duration, done func([]worker.Answer)) error {
	replies := c.Replies(maxAnswers)
	q.Reply = replies.Subject(0)
	if err := c.Query(q, ""); err != nil {
		replies.Close()
		return err
	}
	time.AfterFunc(wait, func() {
		replies.Close()
		answers := make([]worker.Answer, 0, len(replies.C))
		for len(replies.C) > 0 {
			r := <-replies.C
			answers = append(answers, r.Answer)
		}
		done(answers)
	})
	return nil
}
