package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeHub ends each stream after some messages, as for a token that is over, and
// replays what follows the last id. fault spoils that.
type fakeHub struct {
	fault string
	mu    sync.Mutex
	more  *sync.Cond
	count int
}

func (h *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.fault == "refuse" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey") {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodPost {
		h.mu.Lock()
		defer h.mu.Unlock()
		if r.FormValue("data") != strconv.Itoa(h.count+1) {
			http.Error(w, "out of turn", http.StatusBadRequest)
			return
		}
		h.count++
		h.more.Broadcast()
		return
	}
	at, _ := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Last-Event-ID"), "#"))
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Transfer-Encoding", "identity") // its end is that of the connection, as pushd's streams have it
	fmt.Fprint(w, "retry: 1\n\n:\n\n")
	for range 5 {
		w.(http.Flusher).Flush()
		h.mu.Lock()
		for h.count <= at && r.Context().Err() == nil {
			h.more.Wait()
		}
		h.mu.Unlock()
		at++
		switch {
		case at == 8 && h.fault == "lose":
		case at == 8 && h.fault == "twice":
			fmt.Fprintf(w, "id: #%d\ndata: %d\n\n", at, at)
			fallthrough
		default:
			fmt.Fprintf(w, "id: #%d\ndata: %d\n\n", at, at)
		}
	}
	if h.fault != "cut" {
		fmt.Fprint(w, "event: pushd:expired\ndata: {}\n\n")
	}
}

// TestTokens: pages come back with the id of what they had, and what a hub does wrong
// then is told.
func TestTokens(t *testing.T) {
	for fault, want := range map[string]string{
		"": "", "lose": "20 messages were lost, 0 came twice", "twice": "0 messages were lost, 20 came twice",
		"cut": "a stream ended before its token", "refuse": "a page was not let in",
	} {
		t.Run(fault, func(t *testing.T) {
			h := &fakeHub{fault: fault}
			h.more = sync.NewCond(&h.mu)
			s := httptest.NewServer(h)
			defer func() {
				s.CloseClientConnections()
				h.mu.Lock()
				h.count = 1 << 30
				h.mu.Unlock()
				h.more.Broadcast()
				s.Close()
			}()
			code, r := benchmark(t, "tokens", "--url", "sse"+strings.TrimPrefix(s.URL, "http")+"/hub", "--secret", "a secret",
				"-n", "20", "--times", "3", "--life", "10s", "--rate", "50", "--within", "100ms", "--stall", "1m", "--drain", "1m")
			said := strings.Join(r.Problems, "; ")
			switch {
			case want == "" && (code != 0 || !r.OK || number(t, r, "returns") < 60 || number(t, r, "messages") != 20*number(t, r, "updates")):
				t.Errorf("exit %d, %s, %v", code, said, r.Numbers)
			case want != "" && (code != 1 || !strings.Contains(said, want)):
				t.Errorf("exit %d, %q, want %q", code, said, want)
			}
		})
	}
}
