package cluster

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/pusher"
)

const everyDoor = rooms + `
[history]
store = "jetstream"
replicas = 3
[[channel]]
match = "log"
history = 10
[[channel]]
match = "1:log"
history = 10
[[ingest]]
listen = "unix://{{dir}}/ingest.sock"
`

// event sends one as the SDKs of Pusher do.
func (n *Node) event(channel string, more object) (status int, text string) {
	n.t.Helper()
	body := object{"name": "e", "data": "x", "channel": channel}
	for k, v := range more {
		body[k] = v
	}
	raw, _ := json.Marshal(body)
	sum := md5.Sum(raw)
	q := url.Values{
		"auth_key": {roomKey}, "auth_version": {"1.0"}, "auth_timestamp": {strconv.FormatInt(time.Now().Unix(), 10)},
		"body_md5": {hex.EncodeToString(sum[:])},
	}
	const path = "/apps/1/events"
	signed, err := pusher.ParseQuery(q.Encode())
	if err != nil {
		n.t.Fatal(err)
	}
	q.Set("auth_signature", pusher.Sign(roomSecret, pusher.RequestText(http.MethodPost, path, signed)))
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: pushdtest.Timeout}
	res, err := c.Post("http://"+n.Address()+path+"?"+q.Encode(), "application/json", bytes.NewReader(raw))
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	var answer bytes.Buffer
	_, _ = answer.ReadFrom(res.Body)
	return res.StatusCode, answer.String()
}

// TestWhatIsNotKeptIsNoSuccess: the majority of the servers that keep the history stands
// still, which nobody has noticed yet. Whoever publishes into it, by whatever door, is told.
func TestWhatIsNotKeptIsNoSuccess(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: everyDoor, Nodes: 1, NATS: 3})
	n := c.Nodes[0]
	pushdtest.Eventually(t, "there is a history", func() bool {
		status, _ := n.attempt(object{"channel": "log", "data": "x"})
		return status == 200
	})
	pushdtest.Eventually(t, "the workers know", func() bool {
		status, _ := n.event("log", nil)
		return status == 200
	})
	line, err := net.Dial("unix", filepath.Join(n.Dir, "ingest.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	for _, s := range c.NATS[1:] {
		s.Stop()
		defer s.Continue()
	}
	doors := map[string]func() (ok bool, said string){
		"/v1/publish": func() (bool, string) {
			status, r := n.attempt(object{"channel": "log", "data": "x"})
			return status == 200, fmt.Sprint(status, r)
		},
		"pushctl publish": func() (bool, string) {
			r := n.Run("publish", "log", "x")
			return r.Code == 0, r.Stdout + r.Stderr
		},
		"/events": func() (bool, string) {
			status, text := n.event("log", nil)
			return status == 200, fmt.Sprint(status, text)
		},
		"/events with a position": func() (bool, string) {
			status, text := n.event("log", object{"info": "position"})
			return status == 200, fmt.Sprint(status, text)
		},
		"ingest": func() (bool, string) {
			_ = line.SetDeadline(time.Now().Add(pushdtest.Timeout))
			if _, err := line.Write([]byte(`{"channel":"log","data":"x"}` + "\n")); err != nil {
				return true, err.Error()
			}
			text, err := bufio.NewReader(line).ReadString('\n')
			return err != nil || !contains(text, `{"error":`), fmt.Sprint(text, err)
		},
	}
	var all sync.WaitGroup
	for name, door := range doors {
		all.Go(func() {
			if ok, said := door(); ok {
				t.Errorf("%s: %s, though nobody has kept it", name, said)
			} else {
				t.Logf("%s: %s", name, said)
			}
		})
	}
	all.Wait()
}
