package cmd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"time"

	"github.com/pushd/pushd/cmd/config"
	past "github.com/pushd/pushd/worker/history"
)

// followPause is how often --follow asks for what is new.
const followPause = 500 * time.Millisecond

// historyPage is what the API answers.
type historyPage struct {
	Position string            `json:"position"`
	Messages []json.RawMessage `json:"messages"`
	Cursor   string            `json:"cursor"`
}

type historyLine struct {
	Position string          `json:"position"`
	Time     int64           `json:"time"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
	Base64   string          `json:"data_base64"`
}

// history prints what is kept of a channel, or forgets it.
func history(c *call) error {
	name := c.flags.Args().First()
	if c.flags.Bool("purge") && (c.flags.Bool("follow") || c.flags.String("after") != "") {
		return misusef("--purge forgets all that is kept: it goes with neither --follow nor --after")
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	q := url.Values{"channel": {name}}
	if app := c.flags.String("app"); app != "" {
		q.Set("app", app)
	}
	if c.flags.Bool("purge") {
		return c.purgeHistory(cfg, q)
	}
	f := follower{call: c, after: c.flags.String("after"), over: context.Background()}
	if c.flags.Bool("follow") {
		var stop func()
		f.over, stop = signal.NotifyContext(f.over, os.Interrupt)
		defer stop()
	}
	for {
		page, raw, err := c.readHistory(cfg, q, f.after, f.cursor)
		if err != nil {
			if err = f.afterFault(err); err != nil || !f.pause() {
				return err
			}
			continue
		}
		f.fault = ""
		if c.json() && !c.flags.Bool("follow") {
			_, err := fmt.Fprintln(c.out, cleanJSON(string(bytes.TrimSpace(raw))))
			return err
		}
		if err := c.tellHistory(page.Messages); err != nil {
			return err
		}
		switch {
		case page.Cursor != "":
			f.cursor = page.Cursor
		case !c.flags.Bool("follow"):
			return nil
		default:
			if f.goOn(page.Position); !f.pause() {
				return nil
			}
			f.begun = true
		}
	}
}

// follower is how far somebody has come who follows a channel.
type follower struct {
	*call
	over    context.Context // of Ctrl-C
	after   string          // up to where it has all
	cursor  string          // where it goes on
	refused string          // the place at which that was not all, which it has said
	begun   bool
	fault   string // that was told last
}

// goOn asks for what follows a position from now on, as a whole, but for one at which it
// was told before that this cannot be had.
func (f *follower) goOn(position string) {
	if f.after, f.cursor = position, ""; position == f.refused {
		f.after, f.cursor = "", position
	}
}

// afterFault goes on, once it has begun, when the server was away or has lost
// something: it says so on stderr, and once. The error it returns is to end it.
func (f *follower) afterFault(err error) error {
	if !f.begun {
		return err
	}
	var refused *refusal
	switch errors.As(err, &refused); {
	case refused == nil || refused.status >= 500: // not there for now
	case refused.status == http.StatusGone: // what is left of it is told
		f.refused = cmp.Or(f.cursor, f.after)
		if f.after, f.cursor = "", f.refused; refused.Reason != past.Age.String() && refused.Reason != past.Size.String() {
			f.cursor = "" // that place is none: from the beginning
		}
	default:
		return err
	}
	if f.fault != err.Error() {
		f.fault = err.Error()
		fmt.Fprintln(f.err, f.fault)
	}
	return nil
}

func (c *call) readHistory(cfg *config.Config, q url.Values, after, cursor string) (page historyPage, raw []byte, err error) {
	q.Set("after", after)
	q.Set("cursor", cursor)
	if raw, err = c.ask(cfg, "GET", "/v1/history?"+q.Encode(), nil); err != nil {
		return page, nil, err
	}
	if err = json.Unmarshal(raw, &page); err != nil {
		err = fmt.Errorf("read the API's answer: %w", err)
	}
	return page, raw, err
}

// pause waits until it is time to ask again, and reports whether there was no Ctrl-C.
func (f *follower) pause() bool {
	select {
	case <-f.over.Done():
		return false
	case <-time.After(followPause):
		return true
	}
}

// tellHistory prints a message a line: position, time, event, data.
func (c *call) tellHistory(list []json.RawMessage) error {
	for _, raw := range list {
		if c.json() {
			if _, err := fmt.Fprintln(c.out, cleanJSON(string(raw))); err != nil {
				return err
			}
			continue
		}
		var m historyLine
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("read the API's answer: %w", err)
		}
		text := string(m.Data)
		_ = json.Unmarshal(m.Data, &text) // a string; else it is shown as JSON
		if m.Base64 != "" {
			text = "base64 " + m.Base64
		}
		if m.Event != "" {
			text = m.Event + "  " + text
		}
		if _, err := fmt.Fprintf(c.out, "%s  %s  %s\n", m.Position, time.UnixMilli(m.Time).Format(time.DateTime), clean(text)); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) purgeHistory(cfg *config.Config, q url.Values) error {
	raw, err := c.ask(cfg, "DELETE", "/v1/history?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	if c.json() {
		_, err := fmt.Fprintln(c.out, cleanJSON(string(bytes.TrimSpace(raw))))
		return err
	}
	var done struct{ Purged int }
	if err := json.Unmarshal(raw, &done); err != nil {
		return fmt.Errorf("read the API's answer: %w", err)
	}
	fmt.Fprintf(c.out, "forgot %s\n", counted(done.Purged, "message", "messages"))
	return nil
}
