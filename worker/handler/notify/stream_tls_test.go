package notify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// TestBehindTLS: a stream and a poll that waits, behind TLS of ours: a reload moves
// both, with their keys, and no client notices.
func TestBehindTLS(t *testing.T) {
	config := strings.Replace(streamConfig, `"websocket://127.0.0.1:{{port}}"`, `"https://127.0.0.1:{{port}}"`+"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }", 1)
	s := pushdtest.Start(t, pushdtest.Options{Config: config, Manual: true})
	testkit.NewCA(t).Write(filepath.Join(s.Dir, "cert.pem"), filepath.Join(s.Dir, "key.pem"), 30*24*time.Hour, "127.0.0.1")
	s.MustRun("start", "-d")
	address := fmt.Sprint("127.0.0.1:", s.Port)
	n := 0
	say := func() string {
		t.Helper()
		n++
		text := fmt.Sprint("message ", n)
		await(t, func() bool {
			status, _ := s.Post("/v1/publish", map[string]any{"channel": "all", "data": text, "idempotency_key": text})
			return status == 200
		})
		return text
	}
	type answer struct {
		resp *http.Response
		err  error
	}
	polled := make(chan answer, 1)
	waiting := func(protocols map[string]int) {
		t.Helper()
		await(t, func() bool {
			got := map[string]int{}
			for _, c := range connections(t, s) {
				if c["tls"] != "" { // it has shaken hands
					got[c["protocol"].(string)]++
				}
			}
			return fmt.Sprint(got) == fmt.Sprint(protocols)
		})
	}
	es := &source{t: t, address: address, path: "/open", secure: true}
	if !es.open() {
		t.Fatal("no stream")
	}
	waiting(map[string]int{"sse": 1})
	es.want(say())
	poll := "/notify?poll=1m&token=" + url.QueryEscape(token(t, claims{"exp": soon()}))
	resp, conn, err := ask(address, poll, "", true) // it is told where it is
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Position string
		Messages []struct{ Data string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil || told.Position == "" {
		t.Fatalf("%s %+v %v", resp.Status, told, err)
	}
	conn.Close()
	go func() {
		resp, conn, err := ask(address, poll+"&after="+url.QueryEscape(told.Position), "", true)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		polled <- answer{resp, err}
	}()
	waiting(map[string]int{"sse": 1, "poll": 1})
	s.MustRun("reload")
	waiting(map[string]int{"sse": 1, "poll": 1})
	text := say()
	es.want(text)
	if es.opened != 1 {
		t.Error("the reload has cut the stream")
	}
	a := <-polled
	if a.err != nil {
		t.Fatal(a.err)
	}
	if err := json.NewDecoder(a.resp.Body).Decode(&told); err != nil || a.resp.StatusCode != 200 || len(told.Messages) != 1 || told.Messages[0].Data != text {
		t.Errorf("%s %+v %v", a.resp.Status, told, err)
	}
}
