package main

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPusherJSFallback is pusher-js without WebSocket, through reloads, a killed
// worker and a killed broker process.
func TestPusherJSFallback(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"xhr_streaming", "xhr_polling"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			// It is sent 1.5 MB at once, of which a client that is behind may have more to come.
			s := pushdtest.Start(t, pushdtest.Options{Config: sdkConfig + "[worker.limits]\nmax_queue = \"16MiB\"\n"})
			p := talk(t, s, "node", filepath.Join(sdk(t), "fallback.mjs"), way)
			p.steer(s) // polls are answered all the time: some end in the middle of a reload
		})
	}
}

// TestPusherJSWithoutWebSocket: the browser build, where there is no WebSocket, and
// where it reaches nobody, as behind a proxy that lets none through.
func TestPusherJSWithoutWebSocket(t *testing.T) {
	t.Parallel()
	s := startApps(t)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer nobody.Close()
	go func() { // whoever comes is sent away
		for {
			c, err := nobody.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	inBrowser(t, s, openBrowser(t), "?blocked=removed", fmt.Sprint("?blocked=", nobody.Addr().(*net.TCPAddr).Port))
}
