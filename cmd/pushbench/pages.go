package main

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/cmd/pushbench/client"
)

// pages are browser pages that listen to a Mercure hub by EventSource. Each has a
// token; when the hub ends its stream for that, it fetches another one and comes back
// with the id of the last event, as EventSource does. All of it belongs to the loop,
// but for methods, which wait for it.
type pages struct {
	loop   *client.Loop
	target *client.Target
	hub    hub
	list   []page
	over   bool // who ends now stays away

	there   int // pages whose stream is open
	left    int // whose returns are not all made
	returns int // each of them makes
	counts  pageCounts
}

// pageCounts are what happened to them.
type pageCounts struct {
	messages, lost, twice, ended int
	seconds                      map[int64]int // ends for an expired token, by second
	wrong                        string        // why a page was not let in, or lost its stream
}

// page is one of them.
type page struct {
	id      string // of the last event
	last    int    // message
	retry   time.Duration
	open    bool
	expired bool // the stream was ended for its token
	times   int  // that was so
}

// hub is what tokens are made for.
type hub struct {
	url, issuer, topic, secret string
	life                       time.Duration // of a token
}

// token returns one that is good from now on.
func (h *hub) token(action string) string {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": h.issuer, "aud": h.url, "sub": "page", "client_id": "pushbench", "iat": now.Unix(), "exp": now.Add(h.life).Unix(), "jti": "1",
		"authorization_details": []any{map[string]any{
			"type": "https://mercure.rocks/authorization-detail", "actions": []string{action}, "topics": []any{map[string]string{"match": h.topic, "match_type": "exact"}},
		}},
	})
	t.Header["typ"] = "at+jwt"
	raw, _ := t.SignedString([]byte(h.secret)) // HMAC has no way to fail
	return raw
}

// opens has them all come within some time.
func (w *pages) opens(within time.Duration) {
	w.loop.Do(func() {
		start := client.Now()
		for i := range w.list {
			w.loop.At(start+int64(within)*int64(i)/int64(len(w.list)), func() { w.open(uint32(i)) })
		}
	})
}

func (w *pages) open(i uint32) {
	p := &w.list[i]
	t := w.target.Copy(int(i))
	t.Header = "Authorization: Bearer " + w.hub.token("subscribe") + "\r\n"
	if p.id != "" {
		t.Header += "Last-Event-ID: " + p.id + "\r\n"
	}
	t.Path += "?match=" + url.QueryEscape(w.hub.topic)
	p.expired = false
	w.loop.Dial(t, w, i)
}

// Opened implements client.Handler.
func (w *pages) Opened(c *client.Conn) {
	w.list[c.Tag].open = true
	w.there++
}

// Message implements client.Handler.
func (w *pages) Message(*client.Conn, client.Opcode, []byte) {}

// Event implements client.EventHandler.
func (w *pages) Event(c *client.Conn, e client.Event) {
	p := &w.list[c.Tag]
	if e.ID != "" {
		p.id = e.ID
	}
	if e.Retry != 0 {
		p.retry = e.Retry
	}
	switch {
	case e.Type == "pushd:expired":
		p.expired = true
	case e.Type == "" && e.Data != nil:
		w.heard(p, string(e.Data))
	}
}

func (w *pages) heard(p *page, text string) {
	n, err := strconv.Atoi(text)
	if err != nil {
		w.counts.wrong = fmt.Sprintf("%q is no message of ours", text)
		return
	}
	w.counts.messages++
	switch {
	case n == p.last+1:
		p.last = n
	case n <= p.last:
		w.counts.twice++
	default:
		w.counts.lost += n - p.last - 1
		p.last = n
	}
}

// Closed implements client.Handler.
func (w *pages) Closed(c *client.Conn, err error) {
	p := &w.list[c.Tag]
	was := p.open
	if p.open = false; was {
		w.there--
	}
	switch {
	case w.over:
		return
	case !was:
		w.counts.wrong = fmt.Sprintf("a page was not let in: %v", err)
	case !p.expired:
		w.counts.wrong = fmt.Sprintf("a stream ended before its token: %v", err)
	default:
		w.counts.ended++
		w.counts.seconds[time.Now().Unix()]++
		if p.times++; p.times == w.returns {
			w.left--
		}
	}
	w.loop.After(max(p.retry, 100*time.Millisecond), func() {
		if !w.over {
			w.open(c.Tag)
		}
	})
}

// fullest returns how many streams ended in the fullest second.
func (c *pageCounts) fullest() (most int) {
	for _, n := range c.seconds {
		most = max(most, n)
	}
	return most
}
