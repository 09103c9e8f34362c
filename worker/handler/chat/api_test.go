package chat

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// get asks the API with a query.
func get(t *testing.T, s *pushdtest.Server, method, query string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.API+"/v1/history?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(raw)
}

type page struct {
	Position    string
	First, Last uint64
	Messages    []struct {
		Position, Data string
		Base64         string `json:"data_base64"`
		Time           int64
	}
	Cursor string
}

func pageOf(t *testing.T, s *pushdtest.Server, query string) (p page, texts string) {
	t.Helper()
	status, body := get(t, s, http.MethodGet, query)
	if err := json.Unmarshal([]byte(body), &p); err != nil || status != 200 {
		t.Fatalf("%s: %d %s", query, status, body)
	}
	for _, m := range p.Messages {
		texts += m.Data + m.Base64 + " "
	}
	return p, texts
}

// TestAPIOfHistory: a publish is answered with its position, once for a key and
// never for an old version; the history is read in pages, and forgotten.
func TestAPIOfHistory(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: withHistory})
	publish := func(more map[string]any) map[string]any {
		t.Helper()
		body := map[string]any{"channel": "news"}
		for k, v := range more {
			body[k] = v
		}
		status, answer := s.Post("/v1/publish", body)
		if status != 200 || answer["complete"] != true {
			t.Fatalf("%v: %d %v", more, status, answer)
		}
		return answer
	}
	c := s.Dial("/notify")
	first := publish(map[string]any{"data": "one", "idempotency_key": "k1"})
	if first["position"] == nil || first["reached"] != 1.0 || first["repeated"] != nil {
		t.Errorf("%v", first)
	}
	again := publish(map[string]any{"data": "one", "idempotency_key": "k1"})
	if again["position"] != first["position"] || again["repeated"] != true || again["reached"] != 0.0 {
		t.Errorf("%v, first it was %v", again, first)
	}
	publish(map[string]any{"data": "two", "version": 7})
	if old := publish(map[string]any{"data": "older", "version": 6}); old["outdated"] != true || old["position"] != nil {
		t.Errorf("%v", old)
	}
	publish(map[string]any{"data_base64": "AP8=", "version": uint64(1 << 63)})
	c.WantText("one")
	c.WantText("two")
	if _, raw := c.Read(); string(raw) != "\x00\xff" {
		t.Errorf("%q", raw)
	}
	if _, answer := s.Post("/v1/publish", map[string]any{"channels": []string{"news", "plain", "chat:a"}, "data": "x"}); len(answer["positions"].(map[string]any)) != 2 {
		t.Errorf("%v", answer)
	}
	if _, answer := s.Post("/v1/publish", map[string]any{"channel": "plain", "data": "x"}); answer["position"] != nil {
		t.Errorf("%v", answer)
	}
	if _, texts := pageOf(t, s, "channel=news"); texts != "one two AP8= x " {
		t.Errorf("%q", texts)
	}
	p, texts := pageOf(t, s, "channel=news&limit=3&order=desc")
	if texts != "x AP8= two " || p.Cursor == "" {
		t.Errorf("%q %+v", texts, p)
	}
	if p, texts = pageOf(t, s, "channel=news&limit=3&order=desc&cursor="+p.Cursor); texts != "one " || p.Cursor != "" {
		t.Errorf("%q %+v", texts, p)
	}
	if _, texts = pageOf(t, s, "channel=news&after="+first["position"].(string)); texts != "two AP8= x " {
		t.Errorf("%q", texts)
	}
	p, _ = pageOf(t, s, "channel=news&limit=1")
	if p, texts = pageOf(t, s, "channel=news&limit=2&cursor="+p.Cursor); texts != "two AP8= " {
		t.Errorf("%q", texts)
	}
	out := s.MustRun("history", "news")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 4 || !strings.Contains(lines[0], first["position"].(string)) || !strings.HasSuffix(lines[1], "two") {
		t.Errorf("%s", out)
	}
	for query, want := range map[string]struct {
		status int
		words  string
	}{
		"channel=news&after=aaaaaa:1": {410, `"reason":"epoch"`},
		"channel=news&after=" + url.QueryEscape(strings.Split(first["position"].(string), ":")[0]+":9223372036854775808"): {410, `"reason":"future"`},
		"channel=plain":                        {404, `"reason":"off"`},
		"channel=news&after=x":                 {400, "EPOCH:OFFSET"},
		"":                                     {400, "channel"},
		"channel=" + strings.Repeat("a", 9000): {400, "channel"},
		"channel=news&order=up":                {400, "order"},
		"channel=news&limit=0":                 {400, "limit"},
		"channel=news&app=1":                   {404, "no such app"},
		"channel=news&what=1":                  {400, "unknown parameter"},
	} {
		if status, body := get(t, s, http.MethodGet, query); status != want.status || !strings.Contains(body, want.words) || len(body) > 1000 {
			t.Errorf("%.60s: %d %.200s", query, status, body)
		}
	}
	for _, bad := range []map[string]any{
		{"idempotency_key": ""}, {"idempotency_key": strings.Repeat("k", 201)}, {"idempotency_key": 1}, {"version": 0}, {"version": -1}, {"version": "7"}, {"version": 1.5},
	} {
		bad["channel"], bad["data"] = "news", "x"
		if status, answer := s.Post("/v1/publish", bad); status != 400 {
			t.Errorf("%v: %d %v", bad, status, answer)
		}
	}
	two := strings.Split(p.Messages[0].Position, ":")[1]
	if status, body := get(t, s, http.MethodDelete, "channel=news&offset="+two); status != 200 || !strings.Contains(body, `"purged":1`) {
		t.Errorf("%d %s", status, body)
	}
	if _, texts = pageOf(t, s, "channel=news"); texts != "one AP8= x " {
		t.Errorf("%q", texts)
	}
	if out = s.MustRun("history", "news", "--purge"); out != "forgot 3 messages\n" {
		t.Errorf("%q", out)
	}
	if _, texts = pageOf(t, s, "channel=news"); texts != "" {
		t.Errorf("%q", texts)
	}
	if status, body := get(t, s, http.MethodGet, "channel=news&after="+first["position"].(string)); status != 410 || !strings.Contains(body, `"reason":"age"`) {
		t.Errorf("what was forgotten: %d %s", status, body)
	}
}
