package pusher

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// fallbackNodes are for clients without WebSocket behind a balancer that knows no
// sessions: each request may come to either node.
const fallbackNodes = `
[[app]]
id = "main"
key = "278d425bdf160c739803"
secret = "7ad3773142a6692b25b8"
[[worker]]
listen = "http://127.0.0.1:{{port}}"
count = 1
[worker.routes]
"/app/{key}" = "pusher"
"/pusher/*" = "pusher"
"/apps/*"   = "pusher"
`

// answered is a request whose answer comes by and by.
type answered struct {
	t     testing.TB
	lines *bufio.Reader
	body  io.Closer
}

func request(t testing.TB, s *pushdtest.Server, session, way, body string) (int, *answered) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Post(fmt.Sprintf("http://127.0.0.1:%d/pusher/app/%s/1/%s/%s%s", s.Port, appKey, session, way, query), "text/plain", strings.NewReader(body))
	if err != nil {
		return 0, &answered{t: t, lines: bufio.NewReader(strings.NewReader(""))}
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer.StatusCode, &answered{t, bufio.NewReader(answer.Body), answer.Body}
}

// open is request for what must succeed.
func open(t testing.TB, s *pushdtest.Server, session, way string) *answered {
	t.Helper()
	status, a := request(t, s, session, way, "")
	if status != 200 {
		t.Fatalf("%s of %s: %d", way, session, status)
	}
	return a
}

// until reads lines up to one with text.
func (a *answered) until(text string) {
	a.t.Helper()
	for {
		line, err := a.lines.ReadString('\n')
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			a.t.Fatalf("the answer ends with %q before %q: %v", line, text, err)
		}
	}
}

func hear(t testing.TB, s *pushdtest.Server, session string, messages ...string) int {
	t.Helper()
	raw, err := json.Marshal(messages)
	if err != nil {
		t.Fatal(err)
	}
	status, a := request(t, s, session, waySend, string(raw))
	if a.body != nil {
		a.body.Close()
	}
	return status
}

// TestFallbackNodes: a session on one node, what it says and hears by the other;
// through reloads of both, and the death of the process that has it.
func TestFallbackNodes(t *testing.T) {
	t.Parallel()
	url := nats(t)
	var s [2]*pushdtest.Server
	for i := range s {
		s[i] = pushdtest.Start(t, pushdtest.Options{Config: fallbackNodes, Env: []string{"PUSHD_BROKER_URL=" + url, fmt.Sprintf("PUSHD_CLUSTER_NODE=n%d", i)}})
	}
	pushdtest.Eventually(t, "the nodes know each other", func() bool {
		return strings.Contains(s[0].MustRun("nodes"), "n1") && strings.Contains(s[1].MustRun("nodes"), "n0")
	})
	back := newBackend(t, s[1])
	if status := hear(t, s[1], "nosession", subscribeNews); status != http.StatusNotFound {
		t.Errorf("to no session: %d", status)
	}
	stream := open(t, s[0], "streaming0", wayStream)
	stream.until("connection_established")
	polling := func(node int) *answered { t.Helper(); return open(t, s[node], "polling00", wayPoll) }
	polling(0).until("connection_established")
	say := func(session, message string) {
		t.Helper()
		pushdtest.Eventually(t, "the session takes it in", func() bool {
			status := hear(t, s[1], session, message)
			if status != 204 && status != 503 {
				t.Fatalf("%s to %s by the other node: %d", message, session, status)
			}
			return status == 204
		})
	}
	say("streaming0", subscribeNews)
	say("polling00", subscribeNews)
	stream.until("subscription_succeeded")
	polling(1).until("subscription_succeeded")
	waiting := func() (until func(text string)) { // at the node that has not got the session
		answers := make(chan *answered, 1)
		go func() { // there is no header before the answer
			status, a := request(t, s[1], "polling00", wayPoll, "")
			for tries := 0; status == 503 && tries < 100; tries++ { // it came in the middle of a reload
				status, a = request(t, s[1], "polling00", wayPoll, "")
			}
			answers <- a
		}()
		return func(text string) { t.Helper(); (<-answers).until(text) }
	}
	for i := range 3 {
		waits := waiting()
		switch i {
		case 1:
			s[0].MustRun("reload")
		case 2:
			s[1].MustRun("reload")
		}
		say("streaming0", `{"event":"pusher:ping","data":{}}`)
		stream.until("pusher:pong")
		text := fmt.Sprintf("news-%d", i)
		back.trigger("e", text, "news")
		stream.until(text)
		waits(text)
		back.trigger("e", "between-"+text, "news") // no poll waits
		polling(i % 2).until("between-" + text)
	}
	// The process that has the sessions dies: who waits elsewhere is told, and opens
	// another one.
	waits := waiting()
	pushdtest.Eventually(t, "the poll waits", func() bool {
		return strings.Contains(s[1].MustRun("connections", "--wide", "--node", "n1"), "poll")
	})
	s[0].Kill(s[0].Status().Workers[0].PID)
	waits("c[4200")
	if status := hear(t, s[1], "polling00", subscribeNews); status != http.StatusNotFound {
		t.Errorf("to a session that has died: %d", status)
	}
	open(t, s[1], "another00", wayPoll).until("connection_established")
	say("another00", subscribeNews)
}
