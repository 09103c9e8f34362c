package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const remembering = `
drain = "100ms"
[cluster]
lost = "60s"
[history]
store = "jetstream"
replicas = 3
[[channel]]
match = "chat:log"
history = 5000
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/chat" = { handler = "chat", options = { public_history = true } } }
`

// storm is what a test of random faults does, and what comes of it.
type storm struct {
	t       *testing.T
	c       *Cluster
	over    atomic.Bool
	running sync.WaitGroup

	mu    sync.Mutex
	taken map[string]bool   // "room n1 5": 200 and, in the room, said to have reached all, or got by anybody
	said  map[string]string // "log n1 5" → the position that was answered
	all   map[string]string // position → text, as anybody got it
}

func (s *storm) errorf(format string, args ...any) {
	if !s.over.Load() {
		s.t.Errorf(format, args...)
	}
}

// publish sends numbers to both rooms by one node. A broker process that is killed takes
// requests along, so anything may fail; what was answered counts.
func (s *storm) publish(n *Node) {
	for i := 1; !s.over.Load(); i++ {
		for _, room := range []string{"room", "log"} {
			text := fmt.Sprintf("%s %s %d", room, n.Name, i)
			status, r := n.attempt(object{"channel": "chat:" + room, "data": text})
			if status == 200 && (room == "log" || r.Complete) {
				s.mu.Lock()
				s.taken[text] = true
				if room == "log" {
					s.said[text] = r.Position
				}
				s.mu.Unlock()
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// attempt publishes; status 0 is no answer.
func (n *Node) attempt(body object) (status int, r reply) {
	raw, _ := json.Marshal(body)
	req, err := http.NewRequest(http.MethodPost, "http://"+n.API+"/v1/publish", bytes.NewReader(raw))
	if err != nil {
		return 0, r
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+n.Key)
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: pushdtest.Timeout}
	res, err := c.Do(req)
	if err != nil {
		return 0, r
	}
	defer res.Body.Close()
	if json.NewDecoder(res.Body).Decode(&r) != nil {
		return 0, r
	}
	return res.StatusCode, r
}

// listener is a client that comes back.
type listener struct {
	s    *storm
	node *Node
	name string
	room string

	mu       sync.Mutex
	sessions [][]string // of room: what each connection got
	from     string     // of log: where it was first
	at       string     // and where it is
	got      []string   // of log: positions, "" = it was told that something is missing
}

func (k *listener) run() {
	for !k.s.over.Load() {
		path := "/chat?room=" + k.room
		if k.room == "log" {
			k.mu.Lock()
			path += "&positions=1"
			if k.at != "" {
				path += "&after=" + k.at
			}
			k.mu.Unlock()
		}
		c, err := pushdtest.Knock(k.node.Address(), path)
		if err != nil || c.Response.StatusCode != http.StatusSwitchingProtocols {
			if err == nil {
				c.Conn.Close()
			}
			time.Sleep(20 * time.Millisecond)
			continue
		}
		k.mu.Lock()
		k.sessions = append(k.sessions, nil)
		k.mu.Unlock()
		for {
			op, payload, err := c.Next(pushdtest.Timeout)
			if err != nil || op == pushdtest.OpClose {
				break
			}
			k.take(string(payload))
		}
		c.Conn.Close()
	}
}

func (k *listener) take(text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := &k.sessions[len(k.sessions)-1]
	if k.room == "room" {
		*last = append(*last, text)
		k.s.mu.Lock()
		k.s.taken[text] = true
		k.s.mu.Unlock()
		return
	}
	var m struct {
		Position, Data string
		Recovered      *bool
		Reason         string
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		k.s.errorf("%s: %q: %v", k.name, text, err)
		return
	}
	if m.Recovered != nil && !*m.Recovered {
		k.s.t.Logf("%s was told: %s", k.name, text)
		k.got = append(k.got, "")
	}
	if k.at = m.Position; k.from == "" {
		k.from = k.at
	}
	if m.Data != "" {
		k.got = append(k.got, m.Position)
		k.s.mu.Lock()
		if had := k.s.all[m.Position]; had != "" && had != m.Data {
			k.s.errorf("%s: position %s is %q, and %q to another", k.name, m.Position, m.Data, had)
		}
		k.s.all[m.Position] = m.Data
		k.s.mu.Unlock()
	}
}

// has reports whether the last connection got the text.
func (k *listener) has(text string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lastIs(text)
}

func (k *listener) lastIs(text string) bool {
	if k.room == "room" {
		return len(k.sessions) > 0 && slices.Contains(k.sessions[len(k.sessions)-1], text)
	}
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	return slices.ContainsFunc(k.got, func(at string) bool { return k.s.all[at] == text })
}

func offset(position string) (epoch string, n int) {
	epoch, text, _ := strings.Cut(position, ":")
	n, _ = strconv.Atoi(text)
	return epoch, n
}

// judgeLog: each position once, in order, and none left out that anybody has, unless
// it was told.
func (k *listener) judgeLog() (told int) {
	epochs := map[string][]int{}
	for at := range k.s.all {
		e, n := offset(at)
		epochs[e] = append(epochs[e], n)
	}
	for _, all := range epochs {
		slices.Sort(all)
	}
	lastEpoch, last := "", 0
	for _, at := range k.got {
		if at == "" {
			told++
			lastEpoch, last = "", 0
			continue
		}
		e, n := offset(at)
		if lastEpoch != "" {
			if e != lastEpoch {
				k.s.t.Errorf("%s: from epoch %s to %s without a word", k.name, lastEpoch, e)
			} else if n <= last {
				k.s.t.Errorf("%s: %d after %d", k.name, n, last)
			} else {
				all := epochs[e]
				i, _ := slices.BinarySearch(all, last)
				for _, missing := range all[i+1:] {
					if missing >= n {
						break
					}
					k.s.t.Errorf("%s: a hole: %d between %d and %d, %q", k.name, missing, last, n, k.s.all[fmt.Sprint(e, ":", missing)])
				}
			}
		}
		lastEpoch, last = e, n
	}
	return told
}

// judgeRoom: in order, none twice; it returns how many have not come to the last
// connection, whose process lives, between the first and the last that did. What a
// broker process had sent before it was killed may lie in a NATS server and come behind
// what the next one sends, which is another publisher: nobody was told that it arrived.
func (k *listener) judgeRoom() (missing int) {
	for _, got := range k.sessions {
		missing = 0
		first, last := map[string]int{}, map[string]int{}
		had := map[string]bool{}
		for _, text := range got {
			f := strings.Fields(text)
			n, _ := strconv.Atoi(f[2])
			if n <= last[f[1]] && (had[text] || k.s.taken[text]) {
				k.s.t.Errorf("%s: %q after %d, had before: %v", k.name, text, last[f[1]], had[text])
			}
			if first[f[1]] == 0 {
				first[f[1]] = n
			}
			last[f[1]], had[text] = max(last[f[1]], n), true
		}
		for node, n := range last {
			for i := first[node]; i < n; i++ {
				if text := fmt.Sprintf("room %s %d", node, i); k.s.taken[text] && !had[text] {
					missing++
				}
			}
		}
	}
	return missing
}

// blow does one harm, and waits until it is over where the next one would hide it.
func (s *storm) blow(r *rand.Rand) string {
	n := s.c.Nodes[r.IntN(len(s.c.Nodes))]
	switch what := r.IntN(6); what {
	case 0:
		w := n.Status().Workers
		if len(w) == 0 {
			return "no worker of " + n.Name
		}
		pid := w[r.IntN(len(w))].PID
		if pid > 0 {
			n.Kill(pid)
		}
		return "kill a worker of " + n.Name
	case 1:
		if pid := n.Status().Broker.PID; pid > 0 {
			n.Kill(pid)
		}
		return "kill the broker process of " + n.Name
	case 2:
		ns := s.c.NATS[r.IntN(len(s.c.NATS))]
		ns.Kill()
		time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		ns.Start()
		ns.Await()
		return "kill " + ns.name
	case 3:
		if failed := <-n.start("reload"); failed != "" {
			s.errorf("reload of %s: %s", n.Name, failed)
		}
		return "reload " + n.Name
	case 4:
		if s.c.Wires != nil {
			return s.cut(r)
		}
		n.Link.Silence()
		time.Sleep(time.Duration(500+r.IntN(4000)) * time.Millisecond)
		n.Link.Heal()
		return "silence before " + n.Name
	default:
		ns := s.c.NATS[r.IntN(len(s.c.NATS))]
		ns.Stop()
		time.Sleep(time.Duration(200+r.IntN(3000)) * time.Millisecond)
		ns.Continue()
		return "stop " + ns.name
	}
}

// cut does something to a cable.
func (s *storm) cut(r *rand.Rand) string {
	w, at := s.c.Wires, r.IntN(len(s.c.Nodes))
	n, other := s.c.Nodes[at], (at+1+r.IntN(len(s.c.Nodes)-1))%len(s.c.Nodes)
	wait := func() { time.Sleep(time.Duration(500+r.IntN(5000)) * time.Millisecond) }
	switch r.IntN(3) {
	case 0:
		w.Deafen(at, other)
		defer w.Undeafen(at, other)
		wait()
		return "one way from " + n.Name + " to " + s.c.Nodes[other].Name + " is out"
	case 1:
		if w.Spoil(at) {
			defer w.Unspoil(at)
			wait()
			return "losses on the way to " + n.Name
		}
	}
	w.Pull(at)
	defer w.Plug(at)
	wait()
	return "the cable of " + n.Name + " is out"
}

// TestRandomFaults: workers, broker processes and NATS servers are killed, stopped and
// cut off, nodes reloaded, at random, while all publish. What is missing in a room is
// counted as a gap; of a channel with history nothing is missing, and nobody is told
// what is not so.
func TestRandomFaults(t *testing.T) { randomFaults(t, false) }

// TestRandomFaultsOfCables is TestRandomFaults on three machines, each with a cable that is
// pulled, or loses what goes one way.
func TestRandomFaultsOfCables(t *testing.T) { randomFaults(t, true) }

func randomFaults(t *testing.T, wires bool) {
	if !full() {
		t.Skip("minutes of faults: TestASilentServerIsLeft, TestAllServersAway and TestAnHeirOnAnotherServer have them one by one; PUSHD_TEST_FULL=1")
	}
	seconds, _ := strconv.Atoi(os.Getenv("PUSHD_TEST_STORM"))
	if seconds == 0 {
		seconds = 180
	}
	seed, _ := strconv.ParseUint(os.Getenv("PUSHD_TEST_SEED"), 10, 64)
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	s := &storm{t: t, c: Start(t, Options{Config: remembering, NATS: 3, Wires: wires}), taken: map[string]bool{}, said: map[string]string{}, all: map[string]string{}}
	var listeners []*listener
	for _, n := range s.c.Nodes {
		for _, room := range []string{"room", "log"} {
			for i := range 4 {
				k := &listener{s: s, node: n, room: room, name: fmt.Sprintf("%s/%s/%d", n.Name, room, i)}
				listeners = append(listeners, k)
				s.running.Go(k.run)
			}
		}
		s.running.Go(func() { s.publish(n) })
	}
	r, begin := rand.New(rand.NewPCG(seed, 1)), time.Now()
	for i := 0; time.Since(begin) < time.Duration(seconds)*time.Second; i++ {
		t.Logf("%6.1f s: %s", time.Since(begin).Seconds(), s.blow(r))
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
	}
	for _, room := range []string{"room", "log"} {
		for i := 0; ; i++ {
			text := fmt.Sprintf("%s end %d", room, i+1)
			status, answer := s.c.Nodes[0].attempt(object{"channel": "chat:" + room, "data": text})
			whole := status == 200
			for _, k := range listeners {
				for end := time.Now().Add(2 * time.Second); whole && k.room == room && !k.has(text); time.Sleep(20 * time.Millisecond) {
					whole = time.Now().Before(end)
				}
			}
			if whole {
				break
			}
			if time.Since(begin) > time.Duration(seconds)*time.Second+pushdtest.Timeout {
				for _, k := range listeners {
					k.mu.Lock()
					t.Logf("%s has the last: %v; %d connections, %d messages, at %q", k.name, k.lastIs(text), len(k.sessions), len(k.got), k.at)
					k.mu.Unlock()
				}
				for _, n := range s.c.Nodes {
					t.Logf("%s: %s\n%s\n%s", n.Name, n.MustRun("status"), n.MustRun("status", "--json"), n.Log())
				}
				t.Fatalf("%s is never whole again: %d %+v", room, status, answer)
			}
		}
	}
	s.over.Store(true)
	gaps := map[string]int{}
	for _, n := range s.c.Nodes {
		gaps[n.Name] = n.Status().Gaps()
		n.Stop() // ends the listeners
	}
	s.running.Wait()
	told, sessions, positions, from := 0, 0, 0, map[string]int{}
	most := map[string]int{}
	for _, k := range listeners {
		sessions += len(k.sessions)
		if k.room == "log" {
			told += k.judgeLog()
			if e, n := offset(k.from); from[e] == 0 || n < from[e] {
				from[e] = n
			}
			positions += len(k.got)
			continue
		}
		missing := k.judgeRoom()
		if most[k.node.Name] = max(most[k.node.Name], missing); missing > gaps[k.node.Name] {
			t.Errorf("%s: %d missing, %d gaps", k.name, missing, gaps[k.node.Name])
		}
	}
	t.Logf("%d messages were taken, %d have a position; %d sessions, %d positions got, %d times told; missing to one of a room, at most: %v, gaps counted: %v",
		len(s.taken), len(s.all), sessions, positions, told, most, gaps)
	for text, at := range s.said {
		e, n := offset(at)
		if first := from[e]; n == 0 || s.all[at] != text && (first == 0 || n > first) { // else nobody was there yet
			t.Errorf("%q was taken at %q and nobody got it; who came first was at %d, and there is %q", text, at, first, s.all[at])
		}
	}
}
