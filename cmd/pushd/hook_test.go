package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// ear is a back end that listens to webhooks.
type ear struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	deaf  bool // answers 503
	tries int
	heard []hook.Event
}

func newEar(t *testing.T) *ear {
	e := &ear{t: t}
	s := httptest.NewServer(e)
	e.url = s.URL
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		if t.Failed() {
			t.Logf("heard last: %q", e.words())
		}
	})
	return e
}

func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var body struct{ Events []hook.Event }
	if err := json.Unmarshal(raw, &body); err != nil {
		e.t.Errorf("body %s: %v", raw, err)
	}
	if r.Header.Get("X-Pusher-Signature") != hook.Sign(sdkSecret, raw) {
		e.t.Errorf("wrong signature of %s", raw)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tries++
	if e.deaf {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	e.heard = append(e.heard, body.Events...)
}

func (e *ear) listen(yes bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deaf, e.tries = !yes, 0
}

func (e *ear) refused() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.deaf && e.tries > 0
}

// words are what was heard so far, without doubles: delivery is at least once.
func (e *ear) words() (list []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.heard {
		word := strings.Join(strings.Fields(fmt.Sprint(ev.Name, " ", ev.Channel, " ", ev.UserID, " ", ev.Event, " ", ev.SocketID)), " ")
		if ev.Seq > 0 {
			word += fmt.Sprint(" #", ev.Seq)
		}
		if !slices.Contains(list, word) {
			list = append(list, word)
		}
	}
	return list
}

// want waits for exactly these events, in any order, and forgets them.
func (e *ear) want(want ...string) {
	e.t.Helper()
	pushdtest.Eventually(e.t, "hooks come: "+strings.Join(want, ", "), func() bool { return len(e.words()) >= len(want) })
	got := e.words()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.t.Fatalf("hooks\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	e.mu.Lock()
	e.heard = nil
	e.mu.Unlock()
}

func hookServer(t *testing.T, e *ear) *pushdtest.Server {
	t.Helper()
	config := strings.Replace(sdkConfig, "subscription_count = true", fmt.Sprintf("webhooks = [{ url = %q }]", e.url), 1)
	return pushdtest.Start(t, pushdtest.Options{Config: config})
}

// join subscribes with a signature of our own.
func (l *listener) join(channel, user string) {
	l.t.Helper()
	data := ""
	if user != "" {
		data = fmt.Sprintf(`{"user_id":%q}`, user)
	}
	auth := sdkKey + ":" + pusher.Sign(sdkSecret, pusher.ChannelText(l.id, channel, data))
	l.say("pusher:subscribe", map[string]any{"channel": channel, "auth": auth, "channel_data": data})
	for {
		switch f := l.next(); f.Event {
		case "pusher_internal:subscription_succeeded":
			return
		case "pusher:error", "pusher:subscription_error":
			l.t.Fatalf("join %s: %+v", channel, f)
		}
	}
}

// TestWebhooks hears of everything that happens, and of nothing from a reload.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	e := newEar(t)
	s := hookServer(t, e)
	c := &calls{backEnd: &backEnd{program: &program{t: t}}, s: s}
	ann, bob := c.listen(), c.listen()
	e.want("connected "+ann.id+" #1", "connected "+bob.id+" #1")
	ann.join("presence-room", "ann")
	bob.join("presence-room", "bob")
	e.want("channel_occupied presence-room", "member_added presence-room ann", "member_added presence-room bob")
	ann.SendText(`{"event":"client-wave","channel":"presence-room","data":"hi"}`)
	e.want("client_event presence-room ann client-wave " + ann.id)
	bob.join("cache-rates", "")
	e.want("cache_miss cache-rates", "channel_occupied cache-rates", "subscription_count cache-rates")

	moved(t, s, 2)
	bob.Close()
	e.want("disconnected "+bob.id+" #2", "member_removed presence-room bob", "channel_vacated cache-rates", "subscription_count cache-rates")
}

// journaled reports whether word stands in a journal.
func journaled(t *testing.T, s *pushdtest.Server, word string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, "data/webhooks/*.journal"))
	must(t, err)
	return slices.ContainsFunc(files, func(name string) bool {
		raw, _ := os.ReadFile(name) // "" while it is replaced
		return bytes.Contains(raw, []byte(word))
	})
}

// TestWebhooksOutliveTheBroker kills the process that has the queue while the
// endpoint is away, with SIGKILL; then the whole server is started anew.
func TestWebhooksOutliveTheBroker(t *testing.T) {
	t.Parallel()
	e := newEar(t)
	s := hookServer(t, e)
	c := &calls{backEnd: &backEnd{program: &program{t: t}}, s: s}
	e.listen(false)
	var want []string
	for i := range 20 {
		l := c.listen()
		channel := fmt.Sprint("private-", i)
		l.join(channel, "")
		want = append(want, "connected "+l.id+" #1", "channel_occupied "+channel, "subscription_count "+channel)
	}
	pushdtest.Eventually(t, "the journal is written", func() bool { return journaled(t, s, "private-19") })
	pushdtest.Eventually(t, "the endpoint refuses", e.refused)
	pid := s.Status().Broker.PID
	s.Kill(pid)
	pushdtest.Eventually(t, "another broker is ready", func() bool { b := s.Status().Broker.PID; return b != 0 && b != pid })
	s.Stop()
	s.MustRun("start", "-d")
	e.listen(true)
	pushdtest.Eventually(t, "the events of before are delivered", func() bool {
		got := e.words()
		return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got, w) })
	})
}
