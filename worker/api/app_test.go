package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestApp: names and data of an app's requests are those of the Pusher
// protocol.
func TestApp(t *testing.T) {
	for _, tc := range []struct{ op, body, target, data string }{
		{"publish", `{"app":"1","event":"e","channel":"private-a","data":"x\"y"}`,
			"1:private-a", `{"event":"e","channel":"private-a","data":"x\"y"}`},
		{"publish", `{"app":"1","event":"e","channel":"a","data":{"n":1}}`, "1:a", `{"event":"e","channel":"a","data":"{\"n\":1}"}`},
		{"publish", `{"app":"1","event":"e","channel":"#server-to-user-7","data":1}`,
			"1:#server-to-user-7", `{"event":"e","channel":"#server-to-user-7","data":"1"}`},
		{"send", `{"app":"1","event":"e","uid":"7","data":1}`, "1:7", `{"event":"e","channel":"#server-to-user-7","data":"1"}`},
		{"send", `{"app":"1","event":"e","connection":"1.2","data":1}`, "1.2", `{"event":"e","data":"1"}`},
		{"kick", `{"app":"1","uid":"7","reason":"r"}`, "1:7", "r"},
		{"kick", `{"uid":"7","reason":"r"}`, "7", "r"},
	} {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(tc.body), &fields); err != nil {
			t.Fatal(err)
		}
		ps, err := operations[tc.op].parse(fields, apps{"1": true})
		if err != nil || len(ps) != 1 || ps[0].Target != tc.target || string(ps[0].Data) != tc.data {
			t.Errorf("%s %s: %+v %s %v", tc.op, tc.body, ps, ps[0].Data, err)
		}
	}
	for _, tc := range []struct{ op, body, field string }{
		{"publish", `{"event":"e","channel":"a","data":1}`, "app"},
		{"publish", `{"app":"1","channel":"a","data":1}`, "event"},
		{"publish", `{"app":"1","event":"pusher:x","channel":"a","data":1}`, "event"},
		{"publish", `{"app":"1","event":"e","channel":"a:b","data":1}`, "channel"},
		{"publish", `{"app":"1","event":"e","channel":"cache-a","data":1}`, "channel"},
		{"publish", `{"app":"1","event":"e","channel":"a","data_base64":"AA=="}`, "data_base64"},
		{"publish", `{"app":"1:2","event":"e","channel":"a","data":1}`, "app"},
		{"publish", `{"app":"","event":"e","channel":"a","data":1}`, "app"},
		{"publish", `{"app":"nobody","event":"e","channel":"a","data":1}`, "app"},
		{"send", `{"app":"nobody","event":"e","uid":"7","data":1}`, "app"},
		{"kick", `{"app":"nobody","uid":"7"}`, "app"},
		{"broadcast", `{"app":"1","event":"e","data":1}`, "app"},
		{"join", `{"app":"1","connection":"1.2","channel":"a"}`, "app"},
	} {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(tc.body), &fields); err != nil {
			t.Fatal(err)
		}
		if _, err := operations[tc.op].parse(fields, apps{"1": true}); err == nil || asProblem(err).Field != tc.field || (asProblem(err).Status == 404) != strings.Contains(tc.body, "nobody") || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s %s: %v", tc.op, tc.body, err)
		}
	}
}
