package worker

import "testing"

// TestSubprotocolsThatNobodyOffers: an entry that could never match is refused.
func TestSubprotocolsThatNobodyOffers(t *testing.T) {
	if errs := CheckRoutes([]Route{{Pattern: "/a", Handler: 1, Protocols: []string{"a b"}}}); errs[0] == nil {
		t.Error("a subprotocol that nobody can offer is taken")
	}
}

// TestQueryAsBrowsersWriteIt: of handshakes and of requests.
func TestQueryAsBrowsersWriteIt(t *testing.T) {
	w := New(anyWS)
	w.OnHandshake = func(c *Conn, h *Handshake) { _ = c.Set("room", h.Query().Get("room")) }
	w.OnConnect = func(c *Conn) { _ = c.SendText(c.Get("room")) }
	w.OnRequest = func(w *Response, r *Request) { _, _ = w.WriteString(r.Query().Get("room")) }
	s := serve(t, w)
	for sent, want := range map[string]string{"a;b": "a;b", "50%": "50%", "100%%20fun": "100% fun", "a&x=%zz;": "a"} {
		connect(t, s.addrs[0], "/?y=;%&room="+sent).want(want)
		if _, body := dial(t, s.addrs[0]).get("GET /?y=;%&room=" + sent + " HTTP/1.1\r\nHost: a\r\n\r\n"); body != want {
			t.Errorf("%s: got %q, want %q", sent, body, want)
		}
	}
}
