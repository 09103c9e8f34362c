package worker

import (
	"encoding/json"
	"testing"

	"github.com/pushd/pushd/worker/hub"
)

// FuzzQuery: whatever the master or another process asks, the loop answers.
func FuzzQuery(f *testing.F) {
	l := &loop{w: New(), plain: &route{}}
	f.Add("connections", []byte(`{"limit":5,"cursor":"1.2"}`))
	f.Add("channels", []byte(`{"prefix":"x"}`))
	f.Add("?", []byte(`{`))
	f.Fuzz(func(t *testing.T, what string, args []byte) {
		if what == "stats" {
			return // needs a broker
		}
		l.hub = hub.New[*Conn]()
		out, err := l.query(what, args)
		if err == nil && !json.Valid(out) {
			t.Fatalf("%s", out)
		}
	})
}
