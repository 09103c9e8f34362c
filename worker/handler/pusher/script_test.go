package pusher

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestRecoverScript: the script is where clients connect, small, and runs under
// a policy that allows scripts of its origin alone.
func TestRecoverScript(t *testing.T) {
	if len(script) > 2<<10 {
		t.Errorf("the script has %d bytes", len(script))
	}
	for _, word := range []string{"eval", "Function(", "innerHTML", "document", "setTimeout("} {
		if strings.Contains(string(script), word) {
			t.Errorf("the script says %q", word)
		}
	}
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/app/recover.js", 200}, {http.MethodHead, "/app/recover.js", 200}, {http.MethodGet, "/in/app/recover.js?v=1", 200},
		{http.MethodPost, "/app/recover.js", 405}, {http.MethodGet, "/app/other.js", 426}, {http.MethodGet, "/apps/recover.js", 404},
	} {
		req, err := http.NewRequest(c.method, "http://"+addr(s)+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		served := c.status == 200 && c.method == http.MethodGet
		if r.StatusCode != c.status || served != (string(body) == string(script)) {
			t.Errorf("%s %s: %d, %.100q", c.method, c.path, r.StatusCode, body)
		}
		if served && (!strings.HasPrefix(r.Header.Get("Content-Type"), "text/javascript") || r.Header.Get("Access-Control-Allow-Origin") != "*") {
			t.Errorf("%s: %v", c.path, r.Header)
		}
	}
}
