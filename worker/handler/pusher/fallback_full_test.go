package pusher_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestFallbackElsewhere: clients whose kept connection is to a process without a
// place for one more session get one in the other process.
func TestFallbackElsewhere(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: `
[[app]]
id = "1"
key = "my-key"
secret = "0123456789abcdef"

[[worker]]
listen = "http://127.0.0.1:{{port}}"
count = 2
limits = { max_connections = 3 }
[worker.routes]
"/pusher/*" = "pusher"
`})
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	turned := 0
	for i := range 4 { // a process has its connection and two sessions
		pushdtest.Eventually(t, fmt.Sprintf("session %d has a place", i), func() bool {
			answer, err := client.Post(fmt.Sprintf("http://127.0.0.1:%d/pusher/app/my-key/%d/session%d/xhr?protocol=7", s.Port, i, i), "text/plain", nil)
			if err != nil {
				return false
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if strings.Contains(string(body), "4100") {
				if turned++; turned > 50 {
					t.Fatal("the connection is kept, and asks the same process again")
				}
			}
			return err == nil && strings.Contains(string(body), "pusher:connection_established")
		})
	}
	client.CloseIdleConnections()
	if turned == 0 {
		t.Error("nobody was turned away: nothing was tested")
	}
}
