package worker

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// serveHTTP starts a worker whose requests go to mux.
func serveHTTP(t *testing.T, mux *http.ServeMux) *server {
	t.Helper()
	w := New("http://127.0.0.1:0")
	w.Limits.MaxBody = 1 << 20
	w.OnRequest = HTTP(mux)
	return serve(t, w)
}

// TestHeadOfAHandler: what net/http's own handlers say of a body that they do not
// make for HEAD is told; where nothing is said, nothing is.
func TestHeadOfAHandler(t *testing.T) {
	w := New("http://127.0.0.1:0")
	w.OnRequest = HTTP(http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/file":
			http.ServeContent(a, r, "x.txt", time.Time{}, strings.NewReader(strings.Repeat("x", 300_000)))
		case "/written":
			_, _ = a.Write([]byte("seven b"))
		case "/odd":
			a.Header().Set("Content-Length", "-5")
		}
	}))
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	for path, want := range map[string]string{"/file": "300000", "/written": "7", "/silent": "", "/odd": ""} {
		c.write([]byte("HEAD " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"))
		if resp, body := c.response("HEAD"); resp.StatusCode != 200 || resp.Header.Get("Content-Length") != want || body != "" {
			t.Errorf("%s: %s, Content-Length %q, want %q", path, resp.Status, resp.Header.Get("Content-Length"), want)
		}
	}
}

func TestHTTPHandler(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Peer", r.RemoteAddr)
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("X-Late", "not sent")
		fmt.Fprintf(w, "%s %d %d", r.PathValue("id"), len(body), bytes.Count(body, []byte("b")))
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/nothing", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/panic", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "half"); panic("on purpose") })
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	s := serveHTTP(t, mux)
	c := dial(t, s.addrs[0])
	big := strings.Repeat("b", 700<<10)
	resp, body := c.get(fmt.Sprintf("POST /users/7 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(big), big))
	if body != fmt.Sprint("7 ", len(big), " ", len(big)) || resp.StatusCode != 201 || resp.ContentLength != int64(len(body)) ||
		resp.Header.Get("X-Peer") != c.conn.LocalAddr().String() || resp.Header.Get("X-Late") != "" {
		t.Errorf("%s %q %v", resp.Status, body, resp.Header)
	}
	// Requests behind the one that is worked on wait for their turn.
	c.write([]byte("GET /redirect HTTP/1.1\r\nHost: a\r\n\r\nHEAD /redirect HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /missing HTTP/1.1\r\nHost: a\r\n\r\n"))
	for i, want := range []int{307, 307, 200, 404} {
		if resp, _ := c.response([]string{"GET", "HEAD", "GET", "GET"}[i]); resp.StatusCode != want {
			t.Errorf("answer %d: %s", i, resp.Status)
		}
	}
	for _, path := range []string{"/panic", "/exit"} {
		c := dial(t, s.addrs[0])
		if resp, body := c.get("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 500 || !resp.Close || strings.Contains(body, "half") {
			t.Errorf("%s: %s %q", path, resp.Status, body)
		}
		c.wantEOF()
	}
	c = dial(t, s.addrs[0])
	c.write([]byte("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n"))
	c.wantEOF()
	s.eventually("the goroutines end", func() bool { return s.w.loop.tasks.Load() == 0 })
	if n := s.w.loop.panics.Load(); n != 1 || !strings.Contains(s.log.String(), "TestHTTPHandler.func") {
		t.Errorf("%d panics, log:\n%s", n, s.log)
	}
}

// TestHTTPHandlerStream: a body that is larger than max_queue waits for its
// client and comes whole; what is flushed comes at once.
func TestHTTPHandlerStream(t *testing.T) {
	const size = 8 << 20
	part, asked := bytes.Repeat([]byte("0123456789abcdef"), 1<<12), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n < size; n += len(part) {
			if _, err := w.Write(part); err != nil {
				t.Error(n, err)
			}
		}
	})
	mux.HandleFunc("/flush", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-asked
		_, _ = io.WriteString(w, "second")
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		panic("on purpose")
	})
	s := serveHTTP(t, mux)
	c := dial(t, s.addrs[0])
	for _, version := range []string{"1.1", "1.0"} {
		c.write([]byte("GET /big HTTP/" + version + "\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"))
		if version == "1.1" { // 8 MiB are more than the sockets take
			s.eventually("it waits for the client", func() bool {
				all := s.w.loop.conns.all
				return len(all) == 1 && all[0].more != nil && all[0].more.held != nil && all[0].more.held.answer.(*Response).taken != nil
			})
		}
		resp, body := c.response("GET")
		if len(body) != size || body[size-32:] != "0123456789abcdef0123456789abcdef" || (resp.ContentLength < 0) != (version == "1.1") {
			t.Fatalf("HTTP/%s: %s %d", version, resp.Status, len(body))
		}
	}
	s.on(func() {
		if n := s.w.loop.counts.queueBytes; n != 0 {
			t.Error(n, "bytes are left in queues")
		}
	})
	c = dial(t, s.addrs[0])
	c.write([]byte("GET /flush HTTP/1.1\r\nHost: a\r\n\r\n"))
	resp, err := http.ReadResponse(c.r, nil)
	must(t, err)
	first := make([]byte, 5)
	_, err = io.ReadFull(resp.Body, first)
	must(t, err)
	close(asked)
	if rest, err := io.ReadAll(resp.Body); string(first) != "first" || string(rest) != "second" || err != nil {
		t.Errorf("%q %q %v", first, rest, err)
	}
	c = dial(t, s.addrs[0])
	c.write([]byte("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n"))
	resp, err = http.ReadResponse(c.r, nil)
	must(t, err)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a stream that was cut looks whole")
	}
}

// TestHTTPHandlerGone: the context ends with the client, whether the handler
// waits for something else or for the client itself.
func TestHTTPHandlerGone(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		_, err := io.WriteString(w, "to nobody")
		ended <- err
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				ended <- err
				return
			}
		}
	})
	s := serveHTTP(t, mux)
	for _, path := range []string{"/wait", "/stream"} {
		c := dial(t, s.addrs[0])
		c.write([]byte("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"))
		<-began
		if path == "/stream" {
			s.eventually("it waits for the client", func() bool {
				all := s.w.loop.conns.all
				return len(all) == 1 && all[0].more != nil && all[0].more.held != nil && all[0].more.held.answer.(*Response).taken != nil
			})
			s.on(func() { // the deadline of one that takes nothing
				*s.w.loop.conns.when(s.w.loop.conns.all[0]) = seconds(s.w.loop.now)
			})
		} else {
			c.conn.Close()
		}
		if err := <-ended; err != ErrClosed {
			t.Error(path, err)
		}
		s.eventually("it is gone", func() bool { return s.w.CountConnections() == 0 && s.w.loop.tasks.Load() == 0 })
	}
}

func TestHTTPHandlerBusy(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	s := serveHTTP(t, mux)
	s.w.loop.tasks.Add(maxTasks)
	c := dial(t, s.addrs[0])
	if resp, _ := c.get("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Error(resp.Status, resp.Header)
	}
	s.w.loop.tasks.Add(-maxTasks)
	if resp, body := c.get("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 200 || body != "ok" {
		t.Error(resp.Status, body)
	}
}
