package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Ways to hear a server without WebSocket, by the scheme of the URL: sse:// is a
// stream of events, poll:// one request after the other, each with the position that
// the one before has told. Such a connection says nothing.
type way uint8

const (
	byWebSocket way = iota
	byEvents
	byPolls
)

var ways = map[string]way{"ws": byWebSocket, "wss": byWebSocket, "sse": byEvents, "poll": byPolls}

// appendGet asks for a stream, or for what comes after a position.
func appendGet(dst []byte, t *Target, after string) []byte {
	path := t.Path
	if after != "" {
		path += "&after=" + url.QueryEscape(after)
	}
	dst = append(dst, "GET "+path+" HTTP/1.1\r\nHost: "+t.Host+"\r\n"...)
	if t.way == byEvents {
		dst = append(dst, "Accept: text/event-stream\r\n"...)
	}
	if t.Origin != "" {
		dst = append(dst, "Origin: "+t.Origin+"\r\n"...)
	}
	return append(append(dst, t.Header...), "\r\n"...)
}

// errEnd ends a stream that the server has ended with a word.
type errEnd struct{ text string }

func (e *errEnd) Error() string { return "the server has ended the stream: " + e.text }

// decodeEvents handles the answer's head, once, and every whole event of b.
func (l *Loop) decodeEvents(c *Conn, b []byte) (used int) {
	if c.state == handshaking {
		head, _, ok := bytes.Cut(b, []byte("\r\n\r\n"))
		switch {
		case !ok && len(b) > maxResponse:
			l.drop(c, errors.New("the answer's head exceeds 16 KiB"))
			return 0
		case !ok:
			return 0
		case !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) || !bytes.Contains(head, []byte("text/event-stream")):
			l.drop(c, refused(head))
			return 0
		}
		used, c.state = len(head)+4, open
		c.slim()
		c.handler.Opened(c)
	}
	for c.state < gone {
		end := bytes.Index(b[used:], []byte("\n\n"))
		if end < 0 {
			return used
		}
		event := b[used : used+end]
		used += end + 2
		l.eventIn(c, event)
	}
	return used
}

func refused(head []byte) error {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	return &RefusedError{Status: string(line)}
}

// eventIn takes one event. What has neither a type nor data is a sign of life.
func (l *Loop) eventIn(c *Conn, event []byte) {
	var e Event
	any := false
	for line := range bytes.SplitSeq(event, []byte("\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			e.Type = string(value)
		case "id":
			e.ID = string(value)
		case "retry":
			ms, _ := strconv.ParseUint(string(value), 10, 31)
			e.Retry = time.Duration(ms) * time.Millisecond
		case "data":
			if any {
				e.Data = append(append(e.Data[:len(e.Data):len(e.Data)], '\n'), value...)
			} else {
				e.Data, any = value, true
			}
		}
	}
	h, whole := c.handler.(EventHandler)
	switch {
	case whole && (any || e.ID != "" || e.Type != "" || e.Retry != 0):
		h.Event(c, e)
	case e.Type == "" && any:
		l.deliver(c, Text, e.Data)
	case e.Type == "pushd:close":
		l.drop(c, &errEnd{string(e.Data)})
	default:
		l.Pings++
	}
}

// decodePolls handles every whole answer of b: its messages, and then asks again.
func (l *Loop) decodePolls(c *Conn, b []byte) (used int) {
	for c.state < gone {
		head, rest, ok := bytes.Cut(b[used:], []byte("\r\n\r\n"))
		if !ok {
			return used
		}
		length := 0
		for line := range strings.SplitSeq(string(head), "\r\n") {
			if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
				length, _ = strconv.Atoi(strings.TrimSpace(value))
			}
		}
		if len(rest) < length {
			return used
		}
		used += len(head) + 4 + length
		l.pollIn(c, head, rest[:length])
	}
	return used
}

func (l *Loop) pollIn(c *Conn, head, body []byte) {
	var answer struct {
		Position string
		Messages []struct{ Data json.RawMessage }
	}
	switch {
	case bytes.HasPrefix(head, []byte("HTTP/1.1 204")): // nothing has come
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 200")):
		l.drop(c, refused(head))
		return
	case json.Unmarshal(body, &answer) != nil:
		l.drop(c, fmt.Errorf("the answer to a poll is %.100q", body))
		return
	default:
		c.poll.after = answer.Position
	}
	if c.state == handshaking {
		c.state = open
		c.handler.Opened(c)
	}
	for _, m := range answer.Messages {
		var text string
		if json.Unmarshal(m.Data, &text) == nil && c.state == open {
			l.deliver(c, Text, []byte(text))
		}
	}
	if c.state == open {
		l.askAgain(c)
	}
}

// polling is what a connection that polls keeps.
type polling struct {
	target *Target
	after  string
}

// askAgain sends the next poll.
func (l *Loop) askAgain(c *Conn) {
	l.frame = appendGet(l.frame[:0], c.poll.target, c.poll.after)
	l.write(c, l.frame)
}
