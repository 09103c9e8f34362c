package sequencer_test

import (
	"encoding/json"
	"fmt"
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

// TestPagesOfWhatIsKept: a cursor leads on to what is kept behind it, whatever has gone
// meanwhile; who reads behind a position of his is told that it is not all.
func TestPagesOfWhatIsKept(t *testing.T) {
	s := start(t, strings.Replace(config, "history = 100", "history = 4", 1))
	read := func(want string, q url.Values) (cursor, field string) {
		t.Helper()
		q.Set("channel", "room1")
		q.Set("limit", "2")
		status, answer := ask(t, s, "GET", "/v1/history", q, "")
		got := fmt.Sprint(status)
		messages, _ := answer["messages"].([]any)
		for _, m := range messages {
			got += fmt.Sprint(" ", m.(map[string]any)["data"])
		}
		if reason, _ := answer["reason"].(string); reason != "" {
			got += " " + reason
		}
		if got != want {
			t.Errorf("%v: %q, want %q", q, got, want)
		}
		cursor, _ = answer["cursor"].(string)
		field, _ = answer["field"].(string)
		return cursor, field
	}
	publish(t, s, "room1", "0")
	_, empty := ask(t, s, "GET", "/v1/history", url.Values{"channel": {"room1"}}, "")
	after, _ := empty["position"].(string)
	for i := range 4 {
		publish(t, s, "room1", fmt.Sprint(i+1))
	}
	cursor, _ := read("200 1 2", url.Values{})
	newest, _ := read("200 4 3", url.Values{"order": {"desc"}})
	for i := range 3 {
		publish(t, s, "room1", fmt.Sprint(i+5))
	}
	if _, field := read("410 size", url.Values{"after": {after}, "cursor": {cursor}}); field != "cursor" {
		t.Errorf("field %q", field)
	}
	cursor, _ = read("200 4 5", url.Values{"cursor": {cursor}})
	if cursor, _ = read("200 6 7", url.Values{"cursor": {cursor}}); cursor != "" {
		t.Errorf("there is to be more: %q", cursor)
	}
	read("200", url.Values{"order": {"desc"}, "cursor": {newest}})
	epoch, _, _ := strings.Cut(after, ":")
	for _, order := range []string{"asc", "desc"} {
		read("410 epoch", url.Values{"order": {order}, "cursor": {"aaaaaa:3"}})
		read("410 future", url.Values{"order": {order}, "cursor": {epoch + ":99"}})
	}
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
