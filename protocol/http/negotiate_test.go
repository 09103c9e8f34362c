package http

import (
	"net/http"
	"testing"
)

func TestAccepts(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{"text/event-stream"}, true},
		{[]string{"TEXT/Event-Stream"}, true},
		{[]string{"text/event-stream; charset=utf-8"}, true},
		{[]string{"application/json, text/event-stream"}, true},
		{[]string{"text/html,\ttext/event-stream;q=0.5"}, true},
		{[]string{"text/html", "text/event-stream"}, true},
		{[]string{"text/event-stream;q=0.001"}, true},
		{[]string{"text/event-stream;q=0, text/event-stream"}, true},
		{[]string{"text/event-stream;q=0, */*"}, false},
		{[]string{"text/event-stream;charset=utf-8; Q=0.000"}, false},
		{[]string{"text/event-streams", "x-text/event-stream"}, false},
		{[]string{"text/*, */*", ""}, false},
	} {
		if got := Accepts(http.Header{"Accept": tc.lines}, "text/event-stream"); got != tc.want {
			t.Errorf("%q: %t", tc.lines, got)
		}
	}
}

func TestEncoded(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		want  bool
	}{
		{nil, false}, {[]string{""}, false}, {[]string{"Identity"}, false}, {[]string{"gzip"}, true}, {[]string{"identity", "br"}, true},
	} {
		if got := Encoded(http.Header{"Content-Encoding": tc.lines}); got != tc.want {
			t.Errorf("%q: %t", tc.lines, got)
		}
	}
}
