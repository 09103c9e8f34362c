package pusher

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// pair are two processes; the clock and what reaches which is the test's.
type pair struct {
	t    *testing.T
	here *workertest.Server
	far  *workertest.Server
}

func fallbackApp() App {
	a := DefaultApp()
	a.ID, a.Key, a.Secret, a.ClientEvents = appID, appKey, secret, true
	return a
}

func fallbackWorker(t *testing.T) *worker.Worker {
	w := worker.New()
	h, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	off := fallbackApp()
	off.ID, off.Key, off.Disabled = "off", "off-key", true
	SetApps(w, fallbackApp(), off)
	w.Routes = []worker.Route{
		{Pattern: "/app/{key}", Handler: h}, {Pattern: "/apps/*", Handler: h},
		{Pattern: "/pusher/*", Handler: h, Origins: []string{"https://page.example"}},
	}
	return w
}

func startPair(t *testing.T) *pair {
	bus := &workertest.Bus{}
	p := &pair{t: t}
	p.here = workertest.Start(t, fallbackWorker(t), workertest.Options{Bus: bus})
	p.far = workertest.Start(t, fallbackWorker(t), workertest.Options{Bus: bus, Slot: 1})
	return p
}

const sessionPath = "/pusher/app/" + appKey + "/42/abcd0123/"

// post begins a request on a connection of its own.
func (p *pair) post(s *workertest.Server, path, body string, headers ...string) *listening {
	p.t.Helper()
	l := &listening{t: p.t, c: s.Stream(0)}
	l.post(path, body, headers...)
	return l
}

// listening reads the answers on one connection.
type listening struct {
	t    *testing.T
	c    *workertest.Client
	head bool   // the header was read
	rest []byte // of the body
	end  bool   // of the answer
}

func (l *listening) post(path, body string, headers ...string) {
	l.head, l.end, l.rest = false, false, nil
	lines := append([]string{"POST " + path + " HTTP/1.1", "Host: example.com", fmt.Sprint("Content-Length: ", len(body))}, headers...)
	l.c.Write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + body))
}

// status reads a whole answer.
func (l *listening) status() (int, string, http.Header) {
	l.t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(l.c.Bytes())), nil)
	if err != nil {
		l.t.Fatalf("the answer: %v", err)
	}
	body, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(body), r.Header
}

// lines returns the lines that have come, the prelude left out.
func (l *listening) lines() []string {
	l.t.Helper()
	l.rest = append(l.rest, l.c.Bytes()...)
	if !l.head {
		head, body, ok := bytes.Cut(l.rest, []byte("\r\n\r\n"))
		if !ok {
			return nil
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || !bytes.Contains(head, []byte("Content-Type: application/javascript")) {
			l.t.Fatalf("%s", head)
		}
		l.head, l.rest = true, bytes.TrimPrefix(body, []byte(prelude))
	}
	text := string(l.rest)
	i := strings.LastIndexByte(text, '\n') + 1
	l.rest = []byte(text[i:])
	return strings.FieldsFunc(text[:i], func(r rune) bool { return r == '\n' })
}

// events returns the names and data of what is in lines, and all else as it is.
func events(t *testing.T, lines []string) (list []string) {
	t.Helper()
	for _, line := range lines {
		if !strings.HasPrefix(line, "a[") {
			list = append(list, line)
			continue
		}
		var texts []string
		if err := json.Unmarshal([]byte(line[1:]), &texts); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, text := range texts {
			var g got
			if err := json.Unmarshal([]byte(text), &g); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			list = append(list, g.Event+" "+g.text())
		}
	}
	return list
}

func (l *listening) want(want ...string) {
	l.t.Helper()
	got := events(l.t, l.lines())
	for i := range got {
		if strings.HasPrefix(got[i], "pusher:connection_established") {
			got[i] = "hello"
		}
	}
	if !slices.Equal(got, want) {
		l.t.Fatalf("got  %q\nwant %q", got, want)
	}
}

// say is an xhr_send that must succeed.
func (p *pair) say(s *workertest.Server, messages ...string) {
	p.t.Helper()
	raw, err := json.Marshal(append([]string{}, messages...))
	if err != nil {
		p.t.Fatal(err)
	}
	if status, body, _ := p.post(s, sessionPath+"xhr_send?t=1&n=1", string(raw)).status(); status != 204 {
		p.t.Fatalf("%d %s", status, body)
	}
}

// trigger publishes to the channel news.
func (p *pair) trigger(data string) {
	p.t.Helper()
	p.here.Do(func(w *worker.Worker) { p.publish(w, data) })
}

func (p *pair) publish(w *worker.Worker, data string) {
	if err := w.Publish(appID+":news", worker.Message{Data: wire.Event("e", "news", data)}); err != nil {
		p.t.Error(err)
	}
}

const subscribeNews = `{"event":"pusher:subscribe","data":{"channel":"news","auth":""}}`

const query = "?protocol=7&client=js&version=8.6.0&t=1&n=1"

// sessions counts the carried connections of both processes.
func (p *pair) sessions() (n int) {
	for _, s := range []*workertest.Server{p.here, p.far} {
		s.Do(func(w *worker.Worker) {
			w.Connections(func(c *worker.Conn) bool {
				if isSession(c) {
					n++
				}
				return true
			})
		})
	}
	return n
}

// reload replaces a process.
func (p *pair) reload(s *workertest.Server) { s.Reload(fallbackWorker(p.t)) }

// TestFallbackStream: what is said to either process reaches the session, what it
// is sent its stream, through reloads of both.
func TestFallbackStream(t *testing.T) {
	p := startPair(t)
	stream := p.post(p.here, sessionPath+"xhr_streaming"+query, "")
	stream.want("o", "hello")
	p.say(p.far, subscribeNews)
	stream.want("pusher_internal:subscription_succeeded {}")
	for i, s := range []*workertest.Server{p.here, p.far, p.here} {
		p.trigger(fmt.Sprint(i))
		stream.want(fmt.Sprint("e ", i))
		p.reload(s)
		p.trigger("after")
		stream.want("e after")
		p.say(p.far, `{"event":"pusher:ping","data":{}}`, `{"event":"pusher:ping","data":{}}`)
		stream.want("pusher:pong {}", "pusher:pong {}")
		p.say(p.here)
		if lines := stream.lines(); !slices.Equal(lines, []string{"a[]"}) {
			t.Errorf("the answer to a word of life: %q", lines)
		}
	}
	stream.c.Drop()
	if n := p.sessions(); n != 0 {
		t.Errorf("%d sessions are left behind their client", n)
	}
}

// TestFallbackPolls: polls that go to either process in turn get all, once and in
// order; between two of them it waits, also through a reload.
func TestFallbackPolls(t *testing.T) {
	p := startPair(t)
	poll := func(s *workertest.Server) *listening {
		t.Helper()
		return p.post(s, sessionPath+"xhr"+query, "")
	}
	poll(p.here).want("o", "hello")
	p.say(p.far, subscribeNews)
	at := poll(p.far)
	at.want("pusher_internal:subscription_succeeded {}")
	n := 0
	next := func() string { n++; p.trigger(fmt.Sprint(n)); return fmt.Sprint("e ", n) }
	for i := range 6 {
		servers := []*workertest.Server{p.here, p.far}
		first, second := next(), next() // between two polls
		at := poll(servers[i%2])
		at.want(first, second)
		at = poll(servers[(i/2)%2])
		at.want()
		p.reload(servers[i%2])
		at.want(next())
		waits := next()
		p.reload(servers[i/3])
		poll(servers[i%2]).want(waits)
	}
	// Nothing comes: the poll is over after some time, and the next one goes on.
	for _, s := range []*workertest.Server{p.here, p.far, p.here} {
		at := poll(s)
		p.here.Advance(pollTime + 2*time.Second)
		at.want("h")
	}
	at = poll(p.far)
	at.want()
	at.want(next())
	p.here.Advance(betweenPolls - 2*time.Second)
	if p.sessions() != 1 {
		t.Error("the session did not wait for the next poll")
	}
	p.here.Advance(4 * time.Second)
	if p.sessions() != 0 {
		t.Error("the session waits for ever")
	}
	poll(p.far).want("o", "hello") // another one: the client notices
}

// TestFallbackOneConnection: polls of a client on a connection that is kept, and
// behind it another client's, as behind a proxy.
func TestFallbackOneConnection(t *testing.T) {
	p := startPair(t)
	line := p.post(p.here, sessionPath+"xhr"+query, "")
	line.want("o", "hello")
	p.say(p.here, subscribeNews)
	line.post(sessionPath+"xhr"+query, "")
	line.want("pusher_internal:subscription_succeeded {}")
	p.trigger("waits")
	line.post("/pusher/app/"+appKey+"/1/anotherone/xhr"+query, "")
	line.want("o", "hello")
	line.post(sessionPath+"xhr"+query, "")
	line.want("e waits")
}

// TestFallbackLongStream: pusher-js leaves a stream when it has read all of more
// than 256 KiB, and comes for another one, which may be elsewhere. Until then
// nothing is sent that it would miss.
func TestFallbackLongStream(t *testing.T) {
	p := startPair(t)
	stream := p.post(p.here, sessionPath+"xhr_streaming"+query, "")
	stream.want("o", "hello")
	p.say(p.here, subscribeNews)
	stream.want("pusher_internal:subscription_succeeded {}")
	want, got, streams := []string{}, []string{}, 0
	size := func(l *listening) (n int, list []string) {
		raw := l.c.Bytes()
		l.rest = append(l.rest, raw...)
		if head, body, ok := bytes.Cut(l.rest, []byte("\r\n\r\n")); ok && !l.head {
			l.head, l.rest = true, body
			_ = head
		}
		list = strings.FieldsFunc(string(l.rest), func(r rune) bool { return r == '\n' })
		return len(l.rest), list
	}
	stream = &listening{t: t, c: stream.c, head: true}
	read := len(prelude) // and a little
	for i := range 60 {
		text := strings.Repeat("é😀", 700) + fmt.Sprint(i)
		want = append(want, "e "+text)
		p.trigger(text)
		n, lines := size(stream)
		if i == 20 || i == 40 {
			p.reload(p.here)
		}
		if i == 30 {
			p.reload(p.far)
		}
		if n+read > maxStream { // all is read: as the client does
			for _, line := range lines {
				if !strings.HasPrefix(line, "hhh") {
					got = append(got, events(t, []string{line})...)
				}
			}
			p.trigger("between")
			want = append(want, "e between")
			if more := stream.c.Bytes(); len(more) > 0 {
				t.Fatalf("%d bytes behind the end", len(more))
			}
			stream.c.Drop()
			if p.sessions() != 1 {
				t.Fatal("the session has ended with the stream")
			}
			streams++
			stream = p.post([]*workertest.Server{p.here, p.far}[streams%2], sessionPath+"xhr_streaming"+query, "")
			read = 0
		}
	}
	_, lines := size(stream)
	for _, line := range lines {
		if !strings.HasPrefix(line, "hhh") {
			got = append(got, events(t, []string{line})...)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d events over %d streams, want %d", len(got), streams, len(want))
	}
	if streams < 2 {
		t.Errorf("%d streams", streams)
	}
}

// TestFallbackSilence: who gives no word of life on a stream is gone; who answers
// stays. A carrier whose session is gone is told.
func TestFallbackSilence(t *testing.T) {
	p := startPair(t)
	stream := p.post(p.here, sessionPath+"xhr_streaming"+query, "")
	stream.want("o", "hello")
	ping, pong := worker.DefaultSettings().PingInterval, worker.DefaultSettings().PingTimeout
	p.here.Advance(ping + 2*time.Second)
	stream.want("h")
	p.say(p.far)
	p.here.Advance(pong + 2*time.Second)
	stream.want()
	p.here.Advance(ping - pong)
	stream.want("h")
	p.here.Advance(pong + 2*time.Second)
	stream.want(`c[4201,"pong was not received in time"]`)
	if !stream.c.Closed() || p.sessions() != 0 {
		t.Error("it is still there")
	}
	poll := p.post(p.here, sessionPath+"xhr"+query, "")
	poll.want("o", "hello")
	far := p.post(p.far, sessionPath+"xhr"+query, "")
	far.want()
	p.here.Stop()
	far.want(`c[1001,"server is shutting down"]`)
}

// TestFallbackLostSession: a process that is killed says nothing; its carriers
// elsewhere notice.
func TestFallbackLostSession(t *testing.T) {
	p := startPair(t)
	p.post(p.here, sessionPath+"xhr"+query, "").want("o", "hello")
	far := p.post(p.far, sessionPath+"xhr"+query, "")
	far.want()
	p.here.Do(func(w *worker.Worker) {
		w.Connections(func(c *worker.Conn) bool {
			if isSession(c) {
				c.Leave(carriedBy + appID + ":42/abcd0123") // nobody finds it any more
			}
			return true
		})
	})
	p.far.Advance(2 * lookEvery)
	far.want(`c[4200,"the session was lost"]`)
}

// TestFallbackTwoPlaces: of two who use a session at once the later one has it.
func TestFallbackTwoPlaces(t *testing.T) {
	p := startPair(t)
	first := p.post(p.here, sessionPath+"xhr_streaming"+query, "")
	first.want("o", "hello")
	p.say(p.here, subscribeNews)
	first.want("pusher_internal:subscription_succeeded {}")
	for i, s := range []*workertest.Server{p.far, p.here, p.far, p.far} {
		next := p.post(s, sessionPath+[]string{"xhr_streaming", "xhr"}[i/3]+query, "")
		first.want(`c[4200,"the session is used from elsewhere"]`)
		if !first.c.Closed() {
			t.Error("the earlier one goes on")
		}
		p.trigger(fmt.Sprint(i))
		next.want(fmt.Sprint("e ", i))
		first = next
	}
}

// TestFallbackLostWords: what is not confirmed ends the session, and its client
// learns it, rather than that something is missing or comes twice.
func TestFallbackLostWords(t *testing.T) {
	bus := &workertest.Bus{}
	p := &pair{t: t}
	p.here = workertest.Start(t, fallbackWorker(t), workertest.Options{Bus: bus})
	p.far = workertest.Start(t, fallbackWorker(t), workertest.Options{Bus: bus, Slot: 1})
	p.post(p.here, sessionPath+"xhr"+query, "").want("o", "hello")
	p.say(p.here, subscribeNews)
	p.post(p.here, sessionPath+"xhr"+query, "").want("pusher_internal:subscription_succeeded {}")
	far := p.post(p.far, sessionPath+"xhr"+query, "")
	far.want()
	tell := func(text string) {
		p.here.Do(func(w *worker.Worker) {
			p.publish(w, "behind "+text)
			w.Connections(func(c *worker.Conn) bool {
				if isSession(c) {
					_ = c.SendText(`{"event":"` + text + `","data":""}`)
				}
				return true
			})
		})
	}
	tell("one") // what comes while it is on its way waits for the next poll
	far.want("one ")
	far = p.post(p.far, sessionPath+"xhr"+query, "")
	far.want("e behind one")
	far = p.post(p.far, sessionPath+"xhr"+query, "")
	far.want()
	bus.Lose(true)
	tell("lost")
	bus.Lose(false)
	p.trigger("behind it")
	later := p.post(p.here, sessionPath+"xhr"+query, "")
	later.want()
	p.here.Advance(takenWait + 2*time.Second)
	later.want(`c[4200,"what was sent may be lost"]`)
	if lines := far.lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "c[4200,") {
		t.Errorf("told %q", lines)
	}
	if p.sessions() != 0 {
		t.Error("the session goes on")
	}
}

// TestFallbackOnce: a poll in another process that is answered with the last byte it
// was given, since that is half a queue, does not say that nothing has come.
func TestFallbackOnce(t *testing.T) {
	p := startPair(t)
	p.post(p.here, sessionPath+"xhr"+query, "").want("o", "hello")
	p.say(p.here, subscribeNews)
	p.post(p.here, sessionPath+"xhr"+query, "").want("pusher_internal:subscription_succeeded {}")
	big := strings.Repeat("x", 600<<10)
	p.trigger(big)
	far := p.post(p.far, sessionPath+"xhr"+query, "")
	if got := events(t, far.lines()); !slices.Equal(got, []string{"e " + big}) {
		t.Fatalf("%d events", len(got))
	}
	next := p.post(p.far, sessionPath+"xhr"+query, "")
	if lines := next.lines(); len(lines) != 0 {
		t.Fatalf("%d bytes come again", len(lines[0]))
	}
	p.trigger("small")
	next.want("e small")
}

// TestFallbackBadInput: what is wrong is told, and harms nobody.
func TestFallbackBadInput(t *testing.T) {
	p := startPair(t)
	at := func(path, body string, headers ...string) (int, string) {
		t.Helper()
		l := p.post(p.here, path, body, headers...)
		p.here.Advance(2 * lookWait)
		status, text, _ := l.status()
		return status, text
	}
	for path, code := range map[string]string{
		"/pusher/app/unknown/1/abcd0123/xhr": "4001", "/pusher/app/unknown/1/abcd0123/xhr_streaming": "4001",
		"/pusher/app/off-key/1/abcd0123/xhr": "4003", sessionPath + "xhr?protocol=4": "4007", sessionPath + "xhr_streaming?protocol=x": "4006",
	} {
		status, text := at(path, "")
		if status != 200 || !strings.HasPrefix(text, `o`+"\n"+`a["{\"event\":\"pusher:error\"`) || !strings.Contains(text, "\nc["+code+",") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{sessionPath + "xhr_send", "[]", 404},                                                // no such session
		{"/pusher/app/unknown/1/abcd0123/xhr_send", "[]", 404},                               //
		{"/pusher/app/" + appKey + "/1/short/xhr", "", 426},                                  // no session
		{"/pusher/app/" + appKey + "/1/" + strings.Repeat("a", 65) + "/xhr", "", 426},        //
		{"/pusher/app/" + appKey + "/1/abcd%2f0123/xhr", "", 426},                            //
		{"/pusher/app/" + appKey + "/" + strings.Repeat("1", 17) + "/abcd0123/xhr", "", 426}, //
		{"/pusher/app/" + appKey + "/1/abcd0123/jsonp", "", 426},                             //
		{"/pusher/info", "", 404},                                                            //
		{sessionPath + "xhr_send", "", 400}, {sessionPath + "xhr_send", "null", 400},         //
		{sessionPath + "xhr_send", "{}", 400}, {sessionPath + "xhr_send", "[1]", 400}, //
		{sessionPath + "xhr_send", "[null]", 400}, {sessionPath + "xhr_send", `["a"`, 400}, //
		{sessionPath + "xhr_send", `["` + long + `"]`, 413},                    // over max_message
		{sessionPath + "xhr_send", `["` + strings.Repeat(long, 3) + `"]`, 413}, // over max_body
	} {
		status, text := at(c.path, c.body)
		if c.status == 426 {
			c.status = 404 // the prefix has no parameter
		}
		if status == 0 || status != c.status {
			t.Errorf("%s %.20q: %d %s, want %d", c.path, c.body, status, text, c.status)
		}
	}
	if status, _ := at(sessionPath+"xhr", "", "Origin: https://evil.example"); status != 403 {
		t.Errorf("a foreign page: %d", status)
	}
	r, err := http.NewRequest("OPTIONS", "http://example.com"+sessionPath+"xhr_send", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Origin": "https://page.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"} {
		r.Header.Set(name, value)
	}
	h := p.here.Request(r).Header
	if h.Get("Access-Control-Allow-Origin") != "https://page.example" || h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Allow-Headers") != "content-type" {
		t.Errorf("preflight: %v", h)
	}
	get, err := http.NewRequest("GET", "http://example.com"+sessionPath+"xhr", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status := p.here.Request(get).StatusCode; status != 405 {
		t.Errorf("GET: %d", status)
	}
	if n := p.sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// TestFallbackPieces: bodies in pieces of a byte, a client that closes its side and
// one that leaves in the middle.
func TestFallbackPieces(t *testing.T) {
	p := startPair(t)
	stream := p.post(p.here, sessionPath+"xhr_streaming"+query, "")
	stream.want("o", "hello")
	body := `["{\"event\":\"pusher:ping\"}"]`
	c := p.far.Stream(0)
	for _, b := range []byte(fmt.Sprintf("POST %sxhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", sessionPath, len(body), body)) {
		c.Write([]byte{b})
	}
	if answer := string(c.Bytes()); !strings.HasPrefix(answer, "HTTP/1.1 204 ") {
		t.Errorf("%s", answer)
	}
	stream.want("pusher:pong {}")
	half := p.far.Stream(0)
	half.Write([]byte("POST " + sessionPath + "xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[\"{"))
	half.Drop()
	stream.want()
	poll := p.post(p.far, sessionPath+"xhr"+query, "") // the later one has it
	stream.want(`c[4200,"the session is used from elsewhere"]`)
	poll.c.Drop()
	if n := p.sessions(); n != 0 {
		t.Errorf("%d sessions are left behind a client that left its poll", n)
	}
}

// TestFallbackSlowReader: who does not read is sent away at max_queue.
func TestFallbackSlowReader(t *testing.T) {
	p := startPair(t)
	stream := p.post(p.here, sessionPath+"xhr_streaming"+query, "")
	stream.want("o", "hello")
	p.say(p.here, subscribeNews)
	stream.want("pusher_internal:subscription_succeeded {}")
	stream.c.Stall(0)
	for range 3000 {
		p.trigger(strings.Repeat("x", 1000))
	}
	p.here.Advance(2 * time.Minute)
	if n := p.sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// TestFallbackFull: a client whose process has no place for its session is told so in
// the words of the protocol, and its connection ends with that: kept, it would ask
// the same process again and again, whatever room the others have.
func TestFallbackFull(t *testing.T) {
	for _, way := range []string{wayStream, wayPoll} {
		w := fallbackWorker(t)
		w.Limits.MaxConnections = 2 // a session and what carries it
		p := &pair{t: t, here: workertest.Start(t, w)}
		line := p.post(p.here, sessionPath+wayPoll+query, "")
		line.want("o", "hello")
		line.post("/pusher/app/"+appKey+"/1/anotherone/"+way+query, "")
		answer := string(line.c.Bytes())
		if !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.HasSuffix(answer, closing(wire.CodeOverCapacity, noPlace.message)) {
			t.Errorf("%s: %q", way, answer)
		}
		if !strings.Contains(answer, "\r\nConnection: close\r\n") {
			t.Errorf("%s: the connection is kept: %q", way, answer)
		}
	}
}

// TestFallbackItems: what goes at once ends behind an item.
func TestFallbackItems(t *testing.T) {
	items := []byte(`"a,\"",` + `"b\\",` + `"c",`)
	for most, want := range map[int]int{0: 7, 6: 7, 7: 13, 8: 13, 13: 17, 16: 17, 17: 17, 100: 17} {
		if n := firstItems(items, most); n != want && !(most >= 7 && n <= 17 && n <= most+6 && n > 0) {
			t.Errorf("most %d: %d, want %d", most, n, want)
		}
	}
}
