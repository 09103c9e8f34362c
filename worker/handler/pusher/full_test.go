package pusher

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// Clients beyond the limit are told in the protocol; a back end gets in.
func TestFullProcess(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "count = 2", "count = 1\nlimits = { max_connections = 2 }", 1)})
	for range 2 {
		p := &pusher{Client: s.Dial("/app/" + appKey), t: t}
		if g := p.next(); g.Event != "pusher:connection_established" {
			t.Fatalf("%+v", g)
		}
	}
	for range 3 {
		p := &pusher{Client: s.Dial("/app/" + appKey), t: t}
		if g := p.next(); g.Event != "pusher:error" || !strings.Contains(string(g.Data), `"code":4100`) {
			t.Fatalf("%+v", g)
		}
		p.WantClose(4100)
		p.Conn.Close()
		res, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/apps/%s/events", s.Port, appID), "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized || !res.Close {
			t.Errorf("%s, closes: %v", res.Status, res.Close)
		}
	}
	if out := s.MustRun("status"); !strings.Contains(out, "full") {
		t.Errorf("status does not say it:\n%s", out)
	}
}
