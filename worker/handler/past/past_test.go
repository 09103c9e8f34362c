package past

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// TestMessage: what a client reads is JSON of which nothing is lost.
func TestMessage(t *testing.T) {
	p := worker.Published{Channel: `a"b`, Position: history.Position{Epoch: 35, Offset: 1 << 63}}
	for _, c := range []struct {
		data   string
		binary bool
		field  string
		want   string
	}{
		{"héllo \"x\"\n", false, "data", "héllo \"x\"\n"},
		{"", false, "data", ""},
		{`{"n":1}`, false, "data", `{"n":1}`},
		{"\x00\xff", true, "data_base64", "AP8="},
		{"\xff", false, "data_base64", "/w=="},
	} {
		p.Message = worker.Message{Data: []byte(c.data), Binary: c.binary}
		m := Message(&p)
		var got map[string]any
		if err := json.Unmarshal(m.Data, &got); err != nil || m.Binary {
			t.Fatalf("%s: %v", m.Data, err)
		}
		if len(got) != 3 || got["position"] != "00000z:9223372036854775808" || got["channel"] != `a"b` || got[c.field] != c.want {
			t.Errorf("%q is told as %s", c.data, m.Data)
		}
	}
}

// TestCheck refuses what would let everybody read.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		a    Access
		open bool
		want string
	}{
		{Access{}, true, ""}, {Access{Last: 20}, false, ""}, {Access{Last: 20, PublicHistory: true}, true, ""}, {Access{Last: MaxLast}, false, ""},
		{Access{Last: 20}, true, "public_history"}, {Access{Last: -1}, false, "last: a number"}, {Access{Last: MaxLast + 1}, false, "last: a number"},
	} {
		err := c.a.Check(c.open)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v, open %v: %v", c.a, c.open, err)
		}
	}
}
