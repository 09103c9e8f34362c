package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	wire "github.com/pushd/pushd/protocol/pusher"
)

// pastRoom is a presence channel with history.
const pastRoom = "presence-past"

const pastConfig = stormConfig + `
[[channel]]
match = "past"
app = "main"
history = 5000
`

// place is what a frame says of positions.
type place struct {
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"`
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.Epoch, p.Offset) }

// guest is a client of a presence channel with history that comes back with its
// position. It checks that the list is right at its place, and that it misses no
// message without being told.
type guest struct {
	*pushdtest.Client
	user string
	at   place
	last int             // number of the last message; -1 = a gap was told, or it has just begun
	view map[string]bool // who is there; nil = not in yet
	sure func(n int) bool
	told []string // what became of recoveries: "" or the reason
	got  int

	recovered *atomic.Int64 // of all guests; may be nil
}

// come connects and subscribes.
func (g *guest) come(s *pushdtest.Server) (err error) {
	if g.Client, err = pushdtest.Knock(s.Address(), mainPath+"&recover=1"); err != nil {
		return err
	}
	var hello got
	var id struct {
		SocketID string `json:"socket_id"`
	}
	_, raw, err := g.Next(pushdtest.Timeout)
	if err != nil || json.Unmarshal(raw, &hello) != nil || json.Unmarshal([]byte(hello.text()), &id) != nil {
		return fmt.Errorf("greeting %q: %w", raw, err)
	}
	data := fmt.Sprintf(`{"user_id":%q}`, g.user)
	m := map[string]any{
		"channel": pastRoom, "channel_data": data,
		"auth": appKey + ":" + wire.Sign(secret, wire.ChannelText(id.SocketID, pastRoom, data)),
	}
	if g.at.Epoch != "" {
		m["recover"] = g.at.String()
	}
	raw, err = json.Marshal(map[string]any{"event": "pusher:subscribe", "data": m})
	g.view = nil
	return errors.Join(err, g.Try(pushdtest.OpText, raw))
}

// hear takes one frame. An error that begins with "lie" is one of the server's.
func (g *guest) hear() (event string, err error) {
	_, raw, err := g.Next(pushdtest.Timeout)
	if err != nil {
		return "", err
	}
	var f struct {
		got
		place
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return "", fmt.Errorf("%q: %w", raw, err)
	}
	if f.Epoch != "" {
		g.at = f.place
	}
	switch f.Event {
	case "n":
		g.got++
		n, _ := strconv.Atoi(f.text())
		if err := g.follows(n); err != nil {
			return "", err
		}
		if g.view == nil || f.Epoch == "" {
			return "", fmt.Errorf("lie: message %d before the subscription, or without a position: %s", n, raw)
		}
		g.last = n
	case "pushd:recovered":
		var r struct{ Reason string }
		_ = json.Unmarshal([]byte(f.text()), &r)
		if g.told = append(g.told, r.Reason); r.Reason != "" {
			g.last = -1
		} else if g.recovered != nil {
			g.recovered.Add(1)
		}
	default:
		err = g.sees(f.Event, f.text())
	}
	return f.Event, err
}

// follows judges a message by the one before.
func (g *guest) follows(n int) error {
	if n <= g.last {
		return fmt.Errorf("lie: %s has %d behind %d", g.user, n, g.last)
	}
	for m := g.last + 1; g.last >= 0 && m < n; m++ {
		if g.sure(m) {
			return fmt.Errorf("lie: %s has %d behind %d, and was not told of %d", g.user, n, g.last, m)
		}
	}
	return nil
}

// sees takes what is told of members.
func (g *guest) sees(event, data string) error {
	var who struct {
		ID string `json:"user_id"`
	}
	_ = json.Unmarshal([]byte(data), &who)
	switch event {
	case "pusher_internal:subscription_succeeded":
		var r roster
		if json.Unmarshal([]byte(data), &r) != nil || g.view != nil || !slices.Contains(r.Presence.IDs, g.user) {
			return fmt.Errorf("lie: %s is in: %s", g.user, data)
		}
		g.view = map[string]bool{}
		for _, id := range r.Presence.IDs {
			g.view[id] = true
		}
	case "pusher_internal:member_added", "pusher_internal:member_removed":
		if g.view == nil {
			return fmt.Errorf("lie: %s before the list: %s", event, data)
		}
		g.view[who.ID] = event == "pusher_internal:member_added"
	}
	return nil
}

// TestPresenceWithHistory is what goes over the wire.
func TestPresenceWithHistory(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: pastConfig})
	b := newBackend(t, s)
	all := func(int) bool { return true }
	until := func(g *guest, events ...string) {
		t.Helper()
		for _, want := range events {
			if event, err := g.hear(); err != nil || event != want {
				t.Fatalf("%s: %q, %v; want %s", g.user, event, err, want)
			}
		}
	}
	come := func(g *guest) {
		t.Helper()
		if err := g.come(s); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Conn.Close() })
	}
	const list, added, place = "pusher_internal:subscription_succeeded", "pusher_internal:member_added", "pusher_internal:position"
	stock := join(t, s, mainPath)
	equal(t, stock.enter(pastRoom, "0"), "0") // it knows nothing of positions
	ann, bob := &guest{user: "ann", last: -1, sure: all}, &guest{user: "bob", last: -1, sure: all}
	come(ann)
	until(ann, place, list)
	stock.want(added, pastRoom, `{"user_id":"ann"}`)
	ann.Conn.Close() // before any message: it has a place all the same
	stock.want("pusher_internal:member_removed", pastRoom, `{"user_id":"ann"}`)
	for i := range 3 {
		b.trigger("n", strconv.Itoa(i), pastRoom)
		stock.want("n", pastRoom, strconv.Itoa(i))
	}
	come(bob)
	until(bob, place, list)
	ann.last = -1
	come(ann)
	until(ann, list, "n", "n", "n", "pushd:recovered")
	until(bob, added)
	b.trigger("n", "3", pastRoom)
	until(ann, "n")
	until(bob, "n")
	ann.Conn.Close()
	ann.at.Epoch = "zzzzzz"
	come(ann)
	until(ann, list, "pushd:recovered")
	if want := []string{"", "epoch"}; !slices.Equal(ann.told, want) || ann.got != 4 || bob.got != 1 {
		t.Errorf("told %q, %d and %d messages", ann.told, ann.got, bob.got)
	}
	if ann.at != bob.at {
		t.Errorf("they are at %s and %s", ann.at, bob.at)
	}
}

// TestPresenceWithHistoryThroughFaults: guests come and go without end while
// messages are sent, through reloads, the replacement and the death of the broker
// process, and the death of a worker.
func TestPresenceWithHistoryThroughFaults(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: pastConfig})
	var mu sync.Mutex
	doubt, number := map[int]bool{}, 0
	sure := func(n int) bool {
		mu.Lock()
		defer mu.Unlock()
		return n <= number && !doubt[n]
	}
	over, end, errs := make(chan struct{}), make(chan struct{}), make(chan error, 6)
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			mu.Lock()
			number++
			n := number
			doubt[n] = true
			mu.Unlock()
			if said(s, n) {
				mu.Lock()
				delete(doubt, n)
				mu.Unlock()
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	var recovered atomic.Int64
	after := func(fault string) { // guests come back as before
		n := recovered.Load()
		pushdtest.Eventually(t, fault, func() bool { return recovered.Load() >= n+3 })
	}
	guests := make([]*guest, 6)
	for i := range guests {
		g := &guest{user: fmt.Sprint("u", i), last: -1, sure: sure, recovered: &recovered}
		guests[i] = g
		go func() { errs <- g.visits(s, over) }()
	}
	after("the beginning")
	s.MustRun("reload")
	after("a reload")
	s.WriteConfig(pastConfig + "age = \"1h\"\n") // replaces the broker process, too
	s.MustRun("reload")
	after("the replacement of the broker process")
	s.Kill(s.Status().Workers[0].PID)
	after("the death of a worker")
	s.Kill(s.Status().Broker.PID)
	after("the death of the broker process")
	s.MustRun("reload")
	after("a further reload")
	close(over)
	told := map[string]int{}
	for range guests { // messages go on until the last one has seen it
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	close(end)
	publisher.Wait()
	for _, g := range guests {
		for _, reason := range g.told {
			told[reason]++
		}
	}
	t.Logf("%d messages, recoveries %v", number, told)
	if told["epoch"] == 0 { // the broker's memory was lost
		t.Errorf("recoveries: %v", told)
	}
}

// visits comes and goes. Some stay long.
func (g *guest) visits(s *pushdtest.Server, over chan struct{}) error {
	for {
		select {
		case <-over:
			return nil
		default:
		}
		err := g.come(s)
		for n := rand.IntN(40); err == nil && n > 0; n-- {
			_, err = g.hear()
			select {
			case <-over:
				n = 0
			default:
			}
		}
		if g.Client != nil {
			g.Conn.Close()
		}
		if err != nil && strings.HasPrefix(err.Error(), "lie") {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
}

// said publishes, and reports whether it is certain that everybody has had it.
func said(s *pushdtest.Server, n int) bool {
	body := fmt.Sprintf(`{"app":"main","event":"n","channel":%q,"data":"%d"}`, pastRoom, n)
	req, err := http.NewRequest(http.MethodPost, "http://"+s.API+"/v1/publish", strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.Key)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: pushdtest.Timeout}).Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var answer struct{ Complete bool }
	return json.NewDecoder(res.Body).Decode(&answer) == nil && res.StatusCode == 200 && answer.Complete
}

// TestTriggerAnswersPositions: one for each channel that has a history; a key
// makes a second trigger nothing but the same answer, a version that is not newer
// drops it.
func TestTriggerAnswersPositions(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config + "\n[[channel]]\nmatch = \"news*\"\napp = \"main\"\nhistory = 10\n"})
	b := newBackend(t, s)
	p := join(t, s, mainPath)
	p.subscribe("news1")
	p.subscribe("other")
	event := func(data string, more ...any) object {
		e := object{"name": "e", "data": data, "channels": []string{"news1", "news2", "other"}}
		for i := 0; i < len(more); i += 2 {
			e[more[i].(string)] = more[i+1]
		}
		return e
	}
	heard := func(data string) {
		t.Helper()
		p.want("e", "news1", data)
		p.want("e", "other", data)
	}
	first := b.want(200, "*", "POST", "events", event("1", "info", "position,subscription_count", "idempotency_key", "k"))
	if !regexp.MustCompile(`^\{"channels":\{"news1":\{"subscription_count":1,"position":"[0-9a-z]{6}:1"\},"news2":\{"subscription_count":0,"position":"[0-9a-z]{6}:2"\},"other":\{"subscription_count":1\}\}\}$`).MatchString(first) {
		t.Fatalf("%s", first)
	}
	heard("1")
	b.want(200, first[:len(first)-1]+`,"repeated":true}`, "POST", "events", event("1", "info", "position,subscription_count", "idempotency_key", "k"))
	b.want(200, "{}", "POST", "events", event("2", "version", 7))
	heard("2")
	b.want(200, `{"outdated":true}`, "POST", "events", event("old", "version", 7))
	one := func(key string) object {
		return object{"name": "e", "data": key, "channel": "news1", "idempotency_key": key, "info": "position"}
	}
	batch := b.want(200, "*", "POST", "batch_events", object{"batch": []object{one("k1"), one("k2")}})
	p.want("e", "news1", "k1")
	p.want("e", "news1", "k2")
	again := b.want(200, "*", "POST", "batch_events", object{"batch": []object{one("k1"), {"name": "e", "data": "x", "channel": "other"}}})
	p.want("e", "other", "x")
	if want := strings.Split(batch, "},")[0] + `,"repeated":true},{}]}`; again != want || strings.Count(batch, `"position"`) != 2 {
		t.Errorf("%s, then %s, want %s", batch, again, want)
	}
	for _, wrong := range []any{"", strings.Repeat("k", 201), strings.Repeat("k", 200_000), 7, nil, []string{"k"}} {
		b.want(400, "*", "POST", "events", event("x", "idempotency_key", wrong))
	}
	for _, wrong := range []any{0, -1, "7", 1.5, json.RawMessage("18446744073709551616"), json.RawMessage("1" + strings.Repeat("0", 200_000)), []int{1}} {
		b.want(400, "*", "POST", "events", event("x", "version", wrong))
	}
	p.quiet()
}
