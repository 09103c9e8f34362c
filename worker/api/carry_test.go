package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// counted are connections that count what is read of them.
type counted struct {
	net.Listener
	read *atomic.Int64
}

type countedConn struct {
	*net.TCPConn
	read *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c.(*net.TCPConn), l.read}, nil
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// lobby is an HTTP server that answers each request with its path and body,
// once it may.
type lobby struct {
	st      *stage
	addr    string
	read    atomic.Int64
	working chan struct{} // a value for each request
	answer  chan struct{} // the same
}

// newLobby takes what is put around its listener, as Secure does.
func newLobby(t *testing.T, around ...func(net.Listener) net.Listener) *lobby {
	l := &lobby{st: newStage(t), working: make(chan struct{}, 8), answer: make(chan struct{}, 8)}
	h := l.st.api.httpServer(l.st.api.doors.unlessTaken(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.working <- struct{}{}
		<-l.answer
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	})))
	l.addr = l.st.listen(func(ln net.Listener) error {
		ln = counted{ln, &l.read}
		for _, put := range around {
			ln = put(ln)
		}
		return l.st.api.serve(h, ln)
	})
	t.Cleanup(func() { h.Close() })
	return l
}

// wants reads an answer.
func wants(t *testing.T, in *bufio.Reader, want string) {
	t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("%v instead of %q", err, want)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != want {
		t.Fatalf("got %q, %v, want %q", body, err, want)
	}
}

// TestCarriedConnections: whatever of the next request has been read, and
// however, travels along.
func TestCarriedConnections(t *testing.T) {
	const get, post = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	for name, c := range map[string]struct {
		first, while, idle, last string // sent at once, during the first request, after it, to the other process
		answers                  []string
	}{
		"nothing":              {get, "", "", post, []string{"GET /a "}},
		"idle":                 {get, "", "POST /b", post[7:], []string{"GET /a "}},
		"early byte":           {get, "P", "", post[1:], []string{"GET /a "}},
		"early byte and more":  {post, "P", "OST", post[4:], []string{"POST /b hello"}},
		"pipelined part":       {get + post[:9], "", "", post[9:], []string{"GET /a "}},
		"behind a body":        {post + post[:2], "", "", post[2:], []string{"POST /b hello"}},
		"behind two":           {get + post + "P", "", "", post[1:], []string{"GET /a ", "POST /b hello"}},
		"pipelined and early":  {get + post[:3], post[3:4], post[4:6], post[6:], []string{"GET /a "}},
		"empty lines, old end": {post + "\r\nGET /a HTTP/1.1\nHost: x\n\nPO", "", "", post[2:], []string{"POST /b hello", "GET /a "}},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newLobby(t), newLobby(t)
			client := dial(t, "tcp", here.addr)
			in := bufio.NewReader(client)
			sent := int64(0)
			send := func(s string) {
				t.Helper()
				if _, err := io.WriteString(client, s); err != nil {
					t.Fatal(err)
				}
				sent += int64(len(s))
				testkit.Eventually(t, "it is read", func() bool { return here.read.Load() == sent })
			}
			send(c.first)
			for i, answer := range c.answers {
				<-here.working
				if i == 0 {
					send(c.while)
				}
				here.answer <- struct{}{}
				wants(t, in, answer)
			}
			send(c.idle)
			var carried []Carried
			here.st.api.Export(context.Background(), func(c Carried) { carried = append(carried, c) })
			if len(carried) != 1 {
				t.Fatalf("%d connections carried", len(carried))
			}
			carried[0].Door = "tcp/" + there.addr
			if err := there.st.api.Import(carried[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(client, c.last); err != nil {
				t.Fatal(err)
			}
			there.answer <- struct{}{}
			wants(t, in, "POST /b hello")
		})
	}
}

// halting is a client that goes on only when it may.
type halting struct {
	net.Conn
	whole, part int // so many writes, and so many bytes of the next, go out at once
	may         chan struct{}
	halts       atomic.Bool // it waits for that
}

func (c *halting) Write(b []byte) (int, error) {
	if c.whole > 0 {
		c.whole--
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:min(c.part, len(b))])
	c.halts.Store(true)
	<-c.may
	c.part = 0
	if err == nil {
		_, err = c.Conn.Write(b[n:])
	}
	return len(b), err
}

// TestTLSWhileTheProcessLeaves: who has been sent nothing goes to the other process;
// a handshake or a request under way ends here, and nobody else is waited for long.
func TestTLSWhileTheProcessLeaves(t *testing.T) {
	ca := testkit.NewCA(t)
	pair, err := tls.X509KeyPair(ca.Issue(time.Hour, []string{"x"}))
	if err != nil {
		t.Fatal(err)
	}
	secure := func(ln net.Listener) net.Listener {
		return Secure(ln, func() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{pair}} })
	}
	const request = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	for name, c := range map[string]struct {
		whole, part int  // as of halting
		before      bool // a request was answered before
		moves, ends bool // it goes to the other process; it is closed without an answer
	}{
		"silent":            {moves: true},
		"half a hello":      {part: 10, moves: true},
		"half a handshake":  {whole: 1},
		"before a request":  {whole: 99},
		"never a request":   {whole: 99, ends: true},
		"after its request": {whole: 99, before: true, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newLobby(t, secure), newLobby(t, secure)
			raw := &halting{Conn: dial(t, "tcp", here.addr), whole: c.whole, part: c.part, may: make(chan struct{})}
			client := tls.Client(raw, &tls.Config{RootCAs: ca.Pool(), ServerName: "x"})
			in := bufio.NewReader(client)
			ask := func() { _, _ = io.WriteString(client, request) }
			switch {
			case c.before:
				here.answer <- struct{}{}
				ask()
				wants(t, in, "POST /b hello")
			case c.whole == 99:
				if err := client.Handshake(); err != nil {
					t.Fatal(err)
				}
			default:
				go ask()
			}
			testkit.Eventually(t, "the client has its answer, or waits for nothing", func() bool { return c.whole != 1 || raw.halts.Load() })
			testkit.Eventually(t, "as much is read as was sent", func() bool { return here.read.Load() >= int64(c.part) && (c.whole == 0 || here.read.Load() > 0) })
			testkit.Eventually(t, "it is accepted", func() bool {
				here.st.api.doors.mu.Lock()
				defer here.st.api.doors.mu.Unlock()
				for ln := range here.st.api.doors.http {
					if len(ln.conns()) > 0 {
						return true
					}
				}
				return false
			})
			var carried []Carried
			left := make(chan struct{})
			go func() {
				defer close(left)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				here.st.api.Export(ctx, func(c Carried) { carried = append(carried, c) })
			}()
			testkit.Eventually(t, "the process leaves", here.st.api.doors.isLeaving)
			if c.ends {
				if n, err := client.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("read %d, %v", n, err)
				}
				<-left
				return
			}
			server := here
			if c.moves {
				<-left
				if len(carried) != 1 || !carried[0].TLS || len(carried[0].Prefix) != c.part {
					t.Fatalf("carried: %+v", carried)
				}
				carried[0].Door = "tcp/" + there.addr
				if err := there.st.api.Import(carried[0]); err != nil {
					t.Fatal(err)
				}
				server = there
			}
			server.answer <- struct{}{}
			close(raw.may)
			if c.whole == 99 {
				ask()
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); string(body) != "POST /b hello" || err != nil || resp.Close == c.moves {
				t.Errorf("%q, %v, closed: %v", body, err, resp.Close)
			}
			<-left
			if !c.moves && len(carried) > 0 {
				t.Errorf("carried: %+v", carried)
			}
			if log := here.st.log.String(); log != "" {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// TestAfterChunksNothingIsCarried: how far such a request reached is not known.
func TestAfterChunksNothingIsCarried(t *testing.T) {
	l := newLobby(t)
	client := dial(t, "tcp", l.addr)
	in := bufio.NewReader(client)
	fmt.Fprint(client, "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nPOS")
	l.answer <- struct{}{}
	wants(t, in, "POST /b hello")
	l.st.api.Export(context.Background(), func(c Carried) { t.Errorf("carried with %q", c.Prefix); c.File.Close() })
	if _, err := in.ReadByte(); err == nil {
		t.Error("it is still served")
	}
}

// TestServedTooLate: a listener whose turn comes when the process already leaves
// is closed; nobody waits for it.
func TestServedTooLate(t *testing.T) {
	l := newLobby(t)
	l.st.api.Export(context.Background(), func(c Carried) { c.File.Close() })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.st.api.Serve(ln) }()
	t.Cleanup(func() { ln.Close() })
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it is served")
	}
}

// deadlined notes until when it may be read.
type deadlined struct {
	net.Conn
	until time.Time
}

func (c *deadlined) SetReadDeadline(t time.Time) error { c.until = t; return nil }
func (c *deadlined) Read(b []byte) (int, error)        { return copy(b, "G"), nil }

// TestCarriedIdle: a connection that has been carried between two requests has
// the time of such, and that of a head from its first byte on.
func TestCarriedIdle(t *testing.T) {
	in := &deadlined{}
	c := &begunConn{Conn: in}
	c.idle.Store(true)
	near := time.Now().Add(headTimeout)
	if _ = c.SetReadDeadline(near); in.until.Before(near.Add(idleTimeout - 2*headTimeout)) {
		t.Errorf("an idle connection ends after %v", time.Until(in.until))
	}
	past := time.Unix(1, 0)
	if _ = c.SetReadDeadline(past); in.until != past {
		t.Error("a read of it cannot be ended")
	}
	n, err := c.Read(make([]byte, 8))
	if n != 1 || err != nil || in.until.After(time.Now().Add(headTimeout)) || in.until.Before(near) {
		t.Errorf("read %d, %v; the head may take %v", n, err, time.Until(in.until))
	}
	if _ = c.SetReadDeadline(near); in.until != near {
		t.Error("it still counts as idle")
	}
}
