package sequencer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// ask makes a request to the API and returns the status and the fields of the
// answer.
func ask(t *testing.T, s *pushdtest.Server, method, path string, query url.Values, body string) (status int, answer map[string]any) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.API+path+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.Key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(raw, &answer) // what is none has no fields
	return res.StatusCode, answer
}

// TestBadInputOfBackEnds: keys, versions, positions and epochs of any length and
// size get an answer that says what is wrong, and nothing is lost by them.
func TestBadInputOfBackEnds(t *testing.T) {
	s := start(t, config)
	c := dial(t, s)
	c.SendText("join room1")
	at := c.joined("room1", `0 ""`)
	epoch, _, _ := strings.Cut(at, ":")
	for field, values := range map[string][]string{
		"idempotency_key": {`""`, `7`, `null`, `"` + strings.Repeat("k", 201) + `"`, `"` + strings.Repeat("k", 900_000) + `"`},
		"version":         {`0`, `-1`, `"7"`, `null`, `1.5`, `18446744073709551616`, `1` + strings.Repeat("0", 900_000), `1e400`},
	} {
		for _, v := range values {
			status, answer := ask(t, s, "POST", "/v1/publish", nil, `{"channel":"room1","data":"never","`+field+`":`+v+`}`)
			if status != 400 || answer["field"] != field {
				t.Errorf("%s = %.30s: %d %v", field, v, status, answer)
			}
		}
	}
	publish(t, s, "room1", "one")
	c.message("room1", "one")
	for after, want := range map[string]int{
		"x": 400, ":": 400, epoch: 400, epoch + ":-1": 400, epoch + ":18446744073709551616": 400, strings.Repeat("e", 4000) + ":1": 400,
		strings.ToUpper(epoch) + ":1": 400, epoch + ":01": 400,
		epoch + ":9223372036854775808": 410, epoch + ":18446744073709551615": 410, "aaaaaa:1": 410, at: 200,
	} {
		if status, answer := ask(t, s, "GET", "/v1/history", url.Values{"channel": {"room1"}, "after": {after}}, ""); status != want {
			t.Errorf("after %.30s: %d %v, want %d", after, status, answer, want)
		}
	}
	for _, offset := range []string{"-1", "x", "18446744073709551616"} {
		if status, _ := ask(t, s, "DELETE", "/v1/history", url.Values{"channel": {"room1"}, "offset": {offset}}, ""); status != 400 {
			t.Errorf("offset %s: %d", offset, status)
		}
	}
	publish(t, s, "room1", "two")
	c.message("room1", "two")
}

// TestHistoryBegins: a reload gives a channel its history while messages are sent.
// Behind the reload each has a position, the next one that of the one before as
// its prev, and who comes back from the first of them has missed nothing.
func TestHistoryBegins(t *testing.T) {
	s := start(t, config[strings.Index(config, "[[worker]]"):])
	c := dial(t, s)
	c.SendText("join room1")
	c.joined("room1", `0 "off"`)
	publish(t, s, "room1", "before")
	c.WantText("before")
	s.WriteConfig(config)
	s.MustRun("reload")
	publish(t, s, "room1", "one")
	at := c.message("room1", "one")
	publish(t, s, "room1", "two")
	c.message("room1", "two")
	d := dial(t, s)
	d.SendText("join room1 " + at)
	d.joined("room1", `1 ""`)
	d.message("room1", "two")

	s.WriteConfig(config[strings.Index(config, "[[worker]]"):]) // and takes it again
	s.MustRun("reload")
	publish(t, s, "room1", "after")
	c.WantText("after")
	e := dial(t, s)
	e.SendText("join room1 " + at)
	e.joined("room1", `0 "off"`)
}
