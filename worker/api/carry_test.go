package api

import (
	"bufio"
	"context"
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

func newLobby(t *testing.T) *lobby {
	l := &lobby{st: newStage(t), working: make(chan struct{}, 8), answer: make(chan struct{}, 8)}
	h := l.st.api.httpServer(unlessTaken(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.working <- struct{}{}
		<-l.answer
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	})))
	l.addr = l.st.listen(func(ln net.Listener) error { return l.st.api.serve(h, counted{ln, &l.read}) })
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
