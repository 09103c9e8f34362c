package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The questions of an HTTP API. Each calls done once, on the loop, with the
// answer or an error: worker.ErrNoAnswer, or the keeper's own.

// Users asks for the ids of the users in a presence channel: strings, or numbers
// where they were given as such.
func (c *Client) Users(channel string, done func(ids []json.RawMessage, err error)) {
	var ids []json.RawMessage
	c.query(question{Users: channel, Form: true}, &ids, func(err error) { done(ids, err) })
}

// CountUsers asks how many users each of some presence channels has.
func (c *Client) CountUsers(channels []string, done func(counts []int, err error)) {
	var counts []int
	c.query(question{Of: channels}, &counts, func(err error) {
		if err == nil && len(counts) != len(channels) {
			err = errors.New("the keeper counted other channels")
		}
		done(counts, err)
	})
}

func (c *Client) query(q question, into any, done func(error)) {
	raw, err := json.Marshal(q)
	if err != nil {
		raw = nil // strings only
	}
	c.flush() // so that what was done before is in the answer
	c.bus.Ask(Service, raw, askTimeout, func(answer []byte, err error) {
		if err == nil {
			if err = json.Unmarshal(answer, into); err != nil {
				err = fmt.Errorf("read the keeper's answer: %w", err)
			}
		}
		done(err)
	})
}
