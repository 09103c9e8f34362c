package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// browser is an HTTP client with one connection.
type browser struct {
	net.Conn
	r *bufio.Reader
}

func browse(t *testing.T, addr string) *browser {
	c := dialAny(t, "tcp", addr)
	return &browser{c, bufio.NewReader(c)}
}

func (b *browser) ask(t *testing.T, path string) {
	t.Helper()
	if _, err := fmt.Fprintf(b, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

// answer reads a response and its body.
func (b *browser) answer(t *testing.T) string {
	t.Helper()
	res, err := http.ReadResponse(b.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %q, %v", res.Status, body, err)
	}
	return string(body)
}

func (b *browser) wants(t *testing.T, body string) {
	t.Helper()
	if got := b.answer(t); got != body {
		t.Fatalf("got %q, want %q", got, body)
	}
}

// reloading runs a reload meanwhile; the result is awaited by calling done.
func reloading(t *testing.T, s *pushdtest.Server) (done func() pushdtest.Result) {
	t.Helper()
	result := make(chan pushdtest.Result, 1)
	go func() { result <- s.Run("reload", "--json") }()
	return func() pushdtest.Result {
		t.Helper()
		r := <-result
		if r.Code != 0 {
			t.Fatalf("reload: %+v", r)
		}
		return r
	}
}

// TestReloadKeepsAlive: a browser's connection between two requests, with half
// of one, and with two at once.
func TestReloadKeepsAlive(t *testing.T) {
	t.Parallel()
	k := startKinds(t)
	between, half := browse(t, k.ws), browse(t, k.ws)
	between.ask(t, "/")
	between.wants(t, "generation 1")
	fmt.Fprint(half, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab")
	for generation := 2; generation <= 3; generation++ {
		if r := reload(t, k.Server); r.Moved != 2 || r.Drained != 0 {
			t.Fatalf("%+v", r)
		}
		between.ask(t, "/")
		between.ask(t, "/")
		between.wants(t, fmt.Sprint("generation ", generation))
		between.wants(t, fmt.Sprint("generation ", generation))
	}
	fmt.Fprint(half, "cd\r\n0\r\n\r\n")
	half.wants(t, "generation 3")
}

// TestReloadWaitsForAnswers: deferred responses and handshakes are answered by
// the process that began them, and their connections go on in the next one;
// polls that ask again at once do not hold it up.
func TestReloadWaitsForAnswers(t *testing.T) {
	t.Parallel()
	k := startKinds(t)
	request, poll := browse(t, k.ws), browse(t, k.ws)
	request.ask(t, "/deferred")
	shake := &splitter{Conn: dialAny(t, "tcp", k.ws)}
	shake.stream = append([]byte(strings.Replace(string(k.streams()[k.ws]), "/echo", "/deferred", 1)), pushdtest.Frame(pushdtest.OpText, []byte("after"))...)
	shake.upTo(t, len(shake.stream))
	stop, polls := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				polls <- n
				return
			default:
				poll.ask(t, "/poll")
				poll.answer(t)
			}
		}
	}()
	k.readBy(t, []*splitter{shake})
	var before []int
	for _, p := range k.Processes() {
		before = append(before, p.PID)
	}
	done := reloading(t, k.Server)
	pushdtest.Eventually(t, "the next generation is there", func() bool {
		return slices.ContainsFunc(k.Processes(), func(p pushdtest.Process) bool {
			return !slices.Contains(before, p.PID) && strings.Contains(p.Args, "worker")
		})
	})
	write(t, filepath.Join(k.Dir, "release"), "", 0o600)
	if r := done(); r.Took > 10*time.Second {
		t.Errorf("it took %s", r.Took)
	}
	request.wants(t, "generation 1")
	request.ask(t, "/")
	request.wants(t, "generation 2")
	c := bufio.NewReader(shake)
	if res, err := http.ReadResponse(c, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("deferred handshake: %v %v", res, err)
	}
	rest, err := c.Peek(len("\x81\x12grüße aus München"))
	if err != nil {
		t.Fatalf("after a deferred handshake: %q %v", rest, err)
	}
	close(stop)
	if n := <-polls; n == 0 {
		t.Error("nothing was polled")
	}
}

// TestReloadBoundsStreams: a response that is being streamed may come to its
// end within drain; else it is cut, and the reload goes on.
func TestReloadBoundsStreams(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{true, false} {
		t.Run(fmt.Sprint("ends ", ends), func(t *testing.T) {
			t.Parallel()
			k := startKinds(t, "PUSHD_COUNT=1") // who comes meanwhile comes to the heir
			stream := browse(t, k.ws)
			stream.ask(t, "/stream")
			res, err := http.ReadResponse(stream.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			begin := make([]byte, len("generation 1"))
			if _, err := io.ReadFull(res.Body, begin); err != nil || string(begin) != "generation 1" {
				t.Fatalf("%q %v", begin, err)
			}
			done := reloading(t, k.Server)
			pushdtest.Eventually(t, "another generation serves", func() bool {
				b := browse(t, k.ws)
				defer b.Close()
				b.ask(t, "/")
				return b.answer(t) == "generation 2"
			})
			if ends {
				write(t, filepath.Join(k.Dir, "release"), "", 0o600)
			}
			rest, err := io.ReadAll(res.Body)
			if whole := err == nil && string(rest) == ", to the end"; whole != ends {
				t.Errorf("it went on with %q, %v", rest, err)
			}
			if r := done(); r.Took > 10*time.Second {
				t.Errorf("the reload took %s", r.Took)
			}
		})
	}
}

// TestReloadOfSlowReader: a queue that the client is far from having read.
func TestReloadOfSlowReader(t *testing.T) {
	t.Parallel()
	k := startKinds(t)
	const messages = 320 // 50 kB each: more than sockets take
	c := pushdtest.Dial(t, k.ws, "/")
	c.SendText(fmt.Sprint("flood ", messages))
	pushdtest.Eventually(t, "much of it is queued", func() bool {
		for _, w := range k.Status().Workers {
			if w.QueueBytes > 4<<20 {
				return true
			}
		}
		return false
	})
	for range 3 {
		if r := reload(t, k.Server); r.Moved != 1 || r.Drained != 0 || r.BytesCarried < 4<<20 {
			t.Fatalf("%+v", r)
		}
	}
	for i := range messages {
		c.WantText(fmt.Sprint(i) + strings.Repeat(" more", 10_000))
	}
	c.SendText("and back")
	c.WantText("and back")
}

// TestReloadOfEverySocket: unix, text, frame, tcp and udp.
func TestReloadOfEverySocket(t *testing.T) {
	t.Parallel()
	k := startKinds(t)
	say := map[net.Conn]string{
		dialAny(t, "tcp", k.text): "line\n", dialAny(t, "tcp", k.frame): "\x00\x00\x00\x06ab",
		dialAny(t, "tcp", k.tcp): "raw", dialAny(t, "unix", k.unix): "line\n", dialAny(t, "udp", k.udp): "datagram",
	}
	for round := range 4 {
		for c, text := range say {
			fmt.Fprint(c, text)
			got := make([]byte, len(text))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
				t.Fatalf("round %d, %s: %q %v", round, c.LocalAddr().Network(), got, err)
			}
		}
		if r := reload(t, k.Server); r.Moved != len(say)-1 || r.Drained != 0 {
			t.Fatalf("%+v", r)
		}
	}
}

// TestReloadServesDatagrams that come while it runs: each is answered once.
func TestReloadServesDatagrams(t *testing.T) {
	t.Parallel()
	k := startKinds(t)
	c := dialAny(t, "udp", k.udp)
	over := make(chan string, 1)
	go func() {
		for range 5 {
			if r := k.Run("reload"); r.Code != 0 {
				over <- r.Stderr
				return
			}
		}
		over <- ""
	}()
	buf := make([]byte, 64)
	for n := 0; ; n++ {
		fmt.Fprint(c, n)
		if got, err := c.Read(buf); err != nil || string(buf[:got]) != fmt.Sprint(n) {
			t.Fatalf("datagram %d: %q %v", n, buf[:got], err)
		}
		select {
		case failed := <-over:
			if failed != "" {
				t.Fatal(failed)
			}
			t.Logf("%d datagrams", n+1)
			return
		default:
		}
	}
}

// TestReloadServesTheAcceptQueue: who waits because the old workers are full is
// let in by the next ones, which have room.
func TestReloadServesTheAcceptQueue(t *testing.T) {
	t.Parallel()
	full := strings.Replace(reloadConfig, "count  = 2", "count  = 2\nlimits = { max_connections = 3, full_wait = \"5m\" }", 1)
	s := pushdtest.Start(t, pushdtest.Options{Config: full})
	var inside []*pushdtest.Client
	for range 6 {
		inside = append(inside, s.Dial("/echo"))
	}
	var waiting []net.Conn
	for range 30 {
		c, err := knock(fmt.Sprintf("127.0.0.1:%d", s.Port), "/echo")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		waiting = append(waiting, c)
	}
	if n := s.Status().Connections(); n != 6 {
		t.Fatalf("%d connections, want 6: nobody waits", n)
	}
	s.WriteConfig(reloadConfig)
	if r := reload(t, s); r.Moved < 6 || r.Drained != 0 {
		t.Fatalf("%+v", r)
	}
	for i, c := range waiting {
		if err := letIn(c); err != nil {
			t.Fatalf("client %d of the accept queue: %v", i, err)
		}
	}
	for _, c := range inside {
		c.SendText("stayed")
		c.WantText("stayed")
	}
}
