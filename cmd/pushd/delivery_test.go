package main_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// twoProcesses is the config of the tests of delivery and of faults.
const twoProcesses = `
drain = "100ms"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/echo" = "echo", "/chat" = "chat" }
`

// lobby is the channel of chatters who name no room.
const lobby = "chat:lobby"

// fields is a JSON object.
type fields = map[string]any

// member is a client whose place in the server is known.
type member struct {
	*pushdtest.Client
	ID   string
	Slot int
}

// listed is what /v1/connections tells of a connection.
type listed struct {
	ID   string
	Slot int
	PID  int
	UID  string
	IP   string
	Port int
	TLS  string
}

// addr is the client's. The port alone may be another client's too, as those of pushbench
// come from addresses of their own.
func (l listed) addr() string { return fmt.Sprintf("%s:%d", l.IP, l.Port) }

// listing asks for all connections.
func listing(t *testing.T, s *pushdtest.Server, filter string) []listed {
	t.Helper()
	var list struct {
		Connections []listed
		Complete    bool
	}
	pushdtest.Eventually(t, "every worker tells its connections", func() bool { // a busy machine may be late
		list.Connections = nil
		status, err := call(s, http.DefaultClient, http.MethodGet, "/v1/connections?limit=1000&"+filter, nil, &list)
		if err != nil || status != http.StatusOK {
			t.Fatalf("connections: %d %v", status, err)
		}
		return list.Complete
	})
	return list.Connections
}

// call asks the API. Unlike Server.Post it may run on any goroutine.
func call(s *pushdtest.Server, via *http.Client, method, path string, body, answer any) (status int, err error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequest(method, "http://"+s.API+path, bytes.NewReader(raw))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	req.Header.Set("Content-Type", "application/json")
	req.Close = via == http.DefaultClient // one request leaves nothing behind
	res, err := via.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	return res.StatusCode, json.NewDecoder(res.Body).Decode(answer)
}

// crowd connects two clients to each process; those of slot 0 come first.
func crowd(t *testing.T, s *pushdtest.Server, path string) (all []*member, inSlot [2][]*member) {
	t.Helper()
	byAddr := map[string]*member{}
	for slot, clients := range s.DialEach(path, 2) {
		for _, c := range clients {
			m := &member{Client: c, Slot: slot}
			byAddr[c.Conn.LocalAddr().String()] = m
			inSlot[slot] = append(inSlot[slot], m)
		}
	}
	for _, l := range listing(t, s, "") {
		if m := byAddr[l.addr()]; m != nil && l.Slot == m.Slot {
			m.ID = l.ID
		}
	}
	all = slices.Concat(inSlot[0], inSlot[1])
	if slices.ContainsFunc(all, func(m *member) bool { return m.ID == "" }) {
		t.Fatalf("not where it was sent to: %+v", listing(t, s, ""))
	}
	return all, inSlot
}

// want fails the test unless the API answers 200 with this object.
func want(t *testing.T, s *pushdtest.Server, path string, body, answer fields) {
	t.Helper()
	status, got := s.Post(path, body)
	if status != http.StatusOK || fmt.Sprint(got) != fmt.Sprint(answer) {
		t.Fatalf("%s %v: %d %v, want %v", path, body, status, got, answer)
	}
}

// TestEveryMessageOnceInOrder: three publishers at once, two of them clients in
// different processes and one the API, into one channel.
func TestEveryMessageOnceInOrder(t *testing.T) {
	t.Parallel()
	const messages = 2000
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, inSlot := crowd(t, s, "/chat")
	a, b := inSlot[0][0], inSlot[1][0]

	var readers sync.WaitGroup
	faults := make([]error, len(all))
	for i, m := range all {
		from := map[string]int{"a": 0, "b": 0, "api": 0} // the next number of each
		if m == a {
			delete(from, "a")
		}
		if m == b {
			delete(from, "b")
		}
		readers.Go(func() { faults[i] = follow(m.Client, from, messages) })
	}
	published := make(chan error, 1)
	go func() { published <- publishAll(s, messages, len(all)) }()
	for n := range messages {
		a.SendText(fmt.Sprint("a ", n))
		b.SendText(fmt.Sprint("b ", n))
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
	readers.Wait()
	if err := errors.Join(faults...); err != nil {
		t.Fatal(err)
	}
	// Whatever came twice would come before this.
	for _, from := range []*member{a, b} {
		from.SendText("end")
		for _, m := range all {
			if m != from {
				m.WantText("end")
			}
		}
	}
	want(t, s, "/v1/publish", fields{"channel": lobby, "data": "end"}, fields{"reached": len(all), "complete": true})
	for _, m := range all {
		m.WantText("end")
	}
}

// publishAll publishes through the API, one after the other. On a busy machine
// a worker's answer may come too late to be counted, its members get it still.
func publishAll(s *pushdtest.Server, messages, members int) (fault error) {
	via := &http.Client{Transport: &http.Transport{}, Timeout: pushdtest.Timeout}
	defer via.CloseIdleConnections()
	for n := range messages {
		var answer struct {
			Reached  int
			Complete bool
		}
		status, err := call(s, via, http.MethodPost, "/v1/publish", fields{"channel": lobby, "data": fmt.Sprint("api ", n)}, &answer)
		if err != nil || status != http.StatusOK || answer.Reached > members || answer.Complete && answer.Reached < members {
			fault = fmt.Errorf("publish %d: %d %v %+v, want %d reached", n, status, err, answer, members)
		}
	}
	return fault
}

// follow reads until it has so many messages of each publisher, in order.
func follow(c *pushdtest.Client, next map[string]int, messages int) error {
	for range len(next) * messages {
		_, text, err := c.Next(pushdtest.Timeout)
		if err != nil {
			return fmt.Errorf("reading, next would be %v: %w", next, err)
		}
		who, number, _ := strings.Cut(string(text), " ")
		if n, known := next[who]; !known || number != strconv.Itoa(n) {
			return fmt.Errorf("got %q, next would be %v", text, next)
		}
		next[who]++
	}
	return nil
}

func TestTargetsAcrossProcesses(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, inSlot := crowd(t, s, "/echo")
	near, far, other := inSlot[0][0], inSlot[1][0], inSlot[1][1]
	// quiet: a member who was no target reads this next, hence nothing before.
	quiet := func(after string) {
		t.Helper()
		want(t, s, "/v1/broadcast", fields{"data": after}, fields{"reached": len(all), "complete": true})
		for _, m := range all {
			m.WantText(after)
		}
	}
	for _, m := range []*member{near, far} {
		want(t, s, "/v1/bind", fields{"connection": m.ID, "uid": "42"}, fields{})
		want(t, s, "/v1/join", fields{"connection": m.ID, "channel": "pair"}, fields{})
	}
	if got := listing(t, s, "uid=42"); len(got) != 2 {
		t.Errorf("connections of the user: %+v", got)
	}
	want(t, s, "/v1/send", fields{"uid": "42", "data": "user"}, fields{"reached": 2, "online": true, "complete": true})
	near.WantText("user")
	far.WantText("user")
	want(t, s, "/v1/send", fields{"connections": []string{near.ID, other.ID}, "data": fields{"a": 1}}, fields{"reached": 2, "online": true, "complete": true})
	near.WantText(`{"a":1}`)
	other.WantText(`{"a":1}`)
	want(t, s, "/v1/publish", fields{"channel": "pair", "data": "pair", "except": near.ID}, fields{"reached": 1, "complete": true})
	far.WantText("pair")
	quiet("first")

	want(t, s, "/v1/leave", fields{"connection": far.ID, "channel": "pair"}, fields{})
	want(t, s, "/v1/publish", fields{"channel": "pair", "data_base64": base64.StdEncoding.EncodeToString([]byte{0, 255})}, fields{"reached": 1, "complete": true})
	if op, data := near.Read(); op != pushdtest.OpBinary || !bytes.Equal(data, []byte{0, 255}) {
		t.Errorf("got opcode %d %x", op, data)
	}
	want(t, s, "/v1/unbind", fields{"connection": far.ID, "uid": "42"}, fields{})
	want(t, s, "/v1/send", fields{"uid": "42", "data": "one left"}, fields{"reached": 1, "online": true, "complete": true})
	near.WantText("one left")
	quiet("second")

	want(t, s, "/v1/kick", fields{"uid": "42", "code": 3001, "reason": "bye"}, fields{"closed": 1, "complete": true})
	near.WantClose(3001)
	want(t, s, "/v1/kick", fields{"connection": far.ID, "code": 4000}, fields{"closed": 1, "complete": true})
	far.WantClose(4000)
	near.Conn.Close()
	far.Conn.Close()
	all = slices.DeleteFunc(all, func(m *member) bool { return m == near || m == far })
	want(t, s, "/v1/send", fields{"uid": "42", "data": "gone"}, fields{"reached": 0, "online": false, "complete": true})
	if status, answer := s.Post("/v1/bind", fields{"connection": far.ID, "uid": "1"}); status != http.StatusNotFound {
		t.Errorf("bind of a connection that is gone: %d %v", status, answer)
	}
	quiet("third")
}

// TestBatchKeepsItsOrder: to each member and in its answers, also where some of it goes
// by the history.
func TestBatchKeepsItsOrder(t *testing.T) {
	for name, more := range map[string]string{"plain": "", "history": "\n[[channel]]\nmatch = \"" + lobby + "\"\nhistory = 1000\n"} {
		t.Run(name, func(t *testing.T) { batchKeepsItsOrder(t, twoProcesses+more) })
	}
}

func batchKeepsItsOrder(t *testing.T, config string) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	all, _ := crowd(t, s, "/chat")
	var items []fields
	for n := range 99 {
		switch n % 3 {
		case 0:
			items = append(items, fields{"op": "publish", "channel": lobby, "data": fmt.Sprint(n)})
		case 1:
			items = append(items, fields{"op": "send", "connection": all[0].ID, "data": fmt.Sprint(n)})
		case 2:
			items = append(items, fields{"op": "broadcast", "data": fmt.Sprint(n)})
		}
	}
	items = append(items, fields{"op": "publish", "data": "to no channel"})
	status, answer := s.Post("/v1/batch", fields{"items": items})
	results, _ := answer["results"].([]any)
	if status != http.StatusOK || len(results) != len(items) {
		t.Fatalf("batch: %d %v", status, answer)
	}
	for n := range 99 {
		reached := fmt.Sprint(len(all))
		if n%3 == 1 {
			reached = "1"
		}
		if r := results[n].(fields); fmt.Sprint(r["reached"]) != reached || r["complete"] != true {
			t.Errorf("result %d: %v, want %s reached", n, r, reached)
		}
	}
	if r := results[99].(fields); r["error"] == nil || r["field"] != "channel" {
		t.Errorf("result of a wrong item: %v", r)
	}
	for i, m := range all {
		var got []int
		last := 99 - 1 // the last broadcast
		for len(got) == 0 || got[len(got)-1] != last {
			_, text := m.Read()
			n, err := strconv.Atoi(string(text))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		checkBatch(t, i, got)
	}
}

// checkBatch: one publisher, so one order. Member 0 is the target of "send".
func checkBatch(t *testing.T, i int, got []int) {
	t.Helper()
	count := 66
	if i == 0 {
		count = 99
	}
	if len(got) != count || !slices.IsSorted(got) {
		t.Errorf("member %d got %d messages, want %d in order: %v", i, len(got), count, got)
	}
}
