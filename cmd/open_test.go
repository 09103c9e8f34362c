package cmd

import (
	"slices"
	"testing"
)

func TestURLsOf(t *testing.T) {
	got := urlsOf([]string{"websocket://0.0.0.0:2346", "text://127.0.0.1:1", "http://[::]:80", "ws://10.1.2.3:81", "websocket:///run/a.sock"})
	want := []string{"http://127.0.0.1:2346/", "http://[::1]:80/", "http://10.1.2.3:81/"}
	if !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
}
