//go:build linux

package master

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"

	"github.com/pushd/pushd/protocol/control"
)

// rawClient speaks to the control socket in bytes.
func (r *rig) rawClient() *peer {
	r.t.Helper()
	return dialPeer(r.t, "unix://"+r.path("run/"+controlSock))
}

func TestControlSocketSurvivesGarbage(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	for line, want := range map[string]string{
		"garbage":                            "not one JSON object",
		`[]`:                                 "not one JSON object",
		`{}`:                                 "version 0",
		`{"version":99,"op":"status"}`:       "version 99",
		`{"version":1,"op":"explode"}`:       `unknown operation \"explode\"`,
		`{"version":1,"op":"status","x":1}`:  `unknown field \"x\"`,
		`{"version":1,"op":"status"} {}`:     "more after the object",
		`{"version":1,"op":"stop","args":7}`: "args of stop",
		"\x00\xff":                           "not one JSON object",
		`{"version":1,"op":"connections","args":{"limit":5000}}`:  "use 1 to 1000",
		`{"version":1,"op":"connections","args":{"cursor":"%"}}`:  "cursor",
		`{"version":1,"op":"stop","args":{"timeout":-1}}`:         "negative",
		`{"version":1,"op":"connections","args":{"cursor":"YQ"}}`: "cursor",
	} {
		p := r.rawClient()
		if got := p.ask(line); !strings.Contains(got, want) || !strings.Contains(got, `"done":true`) {
			t.Errorf("%q is answered %s, want %q", line, got, want)
		}
		if got := p.ask(`{"version":1,"op":"status"}`); !strings.Contains(got, `"data":{"version":"test"`) {
			t.Errorf("after %q: %s", line, got)
		}
		p.c.Close()
	}
	long := r.rawClient()
	_ = long.c.SetDeadline(time.Now().Add(bound))
	go fmt.Fprint(long.c, strings.Repeat("x", 2*requestMax))
	if got := long.line(); !strings.Contains(got, "request exceeds 65536 bytes") {
		t.Errorf("a long line is answered %s", got)
	}
	i.dial() // the first client has been silent for long
	i.stop()
}

func TestControlClientsAreBounded(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	var crowd []*peer
	for range clientsMax - 1 { // the instance has one
		p := r.rawClient()
		p.ask(`{"version":1,"op":"status"}`)
		crowd = append(crowd, p)
	}
	if got := r.rawClient().line(); !strings.Contains(got, "64 commands run already") {
		t.Errorf("one too many is answered %s", got)
	}
	crowd[0].c.Close()
	testkit.Eventually(t, "room again", func() bool {
		c, err := Dial(r.path("run"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Status(ctxFor(t))
		return err == nil
	})
	i.stop()
}

func TestControlSocketModes(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	for path, want := range map[string]os.FileMode{"run": 0o750, "run/" + controlSock: 0o660} {
		info, err := os.Stat(r.path(path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
	if _, err := os.Lstat(r.path("run/" + busSock)); err == nil {
		t.Error("the broker's socket has a name")
	}
	i.stop()
}

// TestLostControlSocket: it is made anew when the master looks at its files, and by
// the signals that reload; a version to come has it too. Without it a signal stops.
func TestLostControlSocket(t *testing.T) {
	r := newUpgradable(t, 1)
	r.args.Options.Look = time.Hour
	i := r.start()
	dir := r.path("run")
	remove := func() {
		t.Helper()
		if err := os.Remove(dir + "/" + controlSock); err != nil {
			t.Fatal(err)
		}
	}
	lose := func() {
		t.Helper()
		remove()
		if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
			t.Fatalf("without the socket: %v", err)
		}
	}
	found := func() bool {
		c, err := Dial(dir)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	for range 2 {
		lose()
		i.signal(syscall.SIGUSR1)
		testkit.Eventually(t, "the socket is back", found)
	}
	if _, err := i.client.Status(ctxFor(t)); err != nil {
		t.Errorf("a client of before: %v", err)
	}
	if info, err := os.Stat(dir + "/" + controlSock); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	testkit.Eventually(t, "both reloads are over", func() bool { return i.status().Reloads.OK == 2 })
	r.deploy("another build")
	if report := i.reload(); report.Master == nil {
		t.Errorf("no new master: %+v", report)
	}
	i.status()
	lose()
	if err := Terminate(ctxFor(t), dir); err != nil {
		t.Error(err)
	}
	i.ended()
	r.args.Options.Look = 10 * time.Millisecond
	i = r.start()
	remove()
	testkit.Eventually(t, "the socket is back by itself", found)
	i.stop()
}

// TestWhoWaitsAtTheLostSocket: who has connected and is not accepted when the control
// socket is made anew is answered, as are those at the new one.
func TestWhoWaitsAtTheLostSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	listen := func() *net.UnixListener {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	dial := func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ask := func(c net.Conn) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(bound))
		if _, err := c.Write([]byte("nonsense\n")); err != nil {
			t.Error(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, "one JSON object") {
			t.Errorf("answer %q, %v", line, err)
		}
	}
	old := listen()
	s := newServer(&master{log: slog.New(slog.DiscardHandler)}, old)
	renew := func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		s.renew(listen())
	}
	waiting := []net.Conn{dial(), dial()}
	renew()
	waiting = append(waiting, dial())
	go s.serve()
	defer s.close()
	for _, c := range waiting {
		ask(c)
	}
	if err := old.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the lost socket is open still: %v", err)
	}
	renew() // while s waits for the next
	ask(dial())
}

func TestConnectionsArePaged(t *testing.T) {
	r := newRig(t, 2)
	i := r.start()
	seen := map[string]bool{}
	q := ConnQuery{Limit: 120}
	for pages := 1; ; pages++ {
		page, err := i.client.Connections(ctxFor(t), q)
		if err != nil {
			t.Fatal(err)
		}
		if !page.Complete || len(page.Connections) > q.Limit {
			t.Errorf("page %d: %d connections, complete %v", pages, len(page.Connections), page.Complete)
		}
		for _, raw := range page.Connections {
			var c struct{ ID string }
			if err := json.Unmarshal(raw, &c); err != nil || seen[c.ID] {
				t.Fatalf("%s comes twice, or %v", c.ID, err)
			}
			seen[c.ID] = true
		}
		if q.Cursor = page.Cursor; q.Cursor == "" {
			if pages != 5 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if len(seen) != 500 { // each fake worker has 250
		t.Errorf("%d connections", len(seen))
	}
	page, err := i.client.Connections(ctxFor(t), ConnQuery{Worker: "nobody"})
	if err == nil || !strings.Contains(err.Error(), `no worker group "nobody": there are push`) {
		t.Errorf("of an unknown group: %+v, %v", page, err)
	}
	i.stop()
}

func TestConnectionsOfMuteWorker(t *testing.T) {
	r := newRig(t, 2)
	r.args.Timing["query"] = 2 * time.Second
	r.behave("worker.0", "mute")
	i := r.start()
	page, err := i.client.Connections(ctxFor(t), ConnQuery{Limit: 1000})
	if err != nil || page.Complete || len(page.Connections) != 250 {
		t.Errorf("%d connections, complete %v, %v", len(page.Connections), page.Complete, err)
	}
	i.stop()
}

// TestConnectionsOfAllNodes come from the broker process where there may be others; of
// this node, and not complete, when it cannot ask them.
func TestConnectionsOfAllNodes(t *testing.T) {
	for _, words := range []string{"", "lonely", "hang"} {
		r := newRig(t, 1)
		r.plan.Broker.Answers = []string{control.QueryConnections}
		r.savePlan()
		if words != "hang" {
			r.behave("broker.0", words)
		}
		i := r.start()
		if why := i.status().NodesUnknown; why != "the broker process has not answered" {
			t.Errorf("the nodes are not known, since %q", why)
		}
		if words == "hang" { // there is none for a while
			r.behave("broker.0", words)
			kill(t, i.status().Broker.PID, syscall.SIGKILL)
			testkit.Eventually(t, "the next one hangs", func() bool { return r.read("hang") != "" })
			if why := i.status().NodesUnknown; why != "the broker process is starting" {
				t.Errorf("the nodes are not known, since %q", why)
			}
			if _, err := i.client.Connections(ctxFor(t), ConnQuery{Node: "n"}); err == nil || !strings.Contains(err.Error(), "broker process is away") {
				t.Errorf("of another node: %v", err)
			}
		}
		q, seen, of := ConnQuery{Limit: 120}, 0, "broker/"
		if words != "" {
			of = "push/"
		}
		for pages := 1; ; pages++ {
			page, err := i.client.Connections(ctxFor(t), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, raw := range page.Connections {
				if !strings.Contains(string(raw), of) {
					t.Errorf("%s is not of %s", raw, of)
				}
			}
			seen += len(page.Connections)
			if page.Complete != (words == "") || pages < 3 != (page.Cursor != "") {
				t.Errorf("page %d: complete %v, cursor %q", pages, page.Complete, page.Cursor)
			}
			if q.Cursor = page.Cursor; q.Cursor == "" {
				break
			}
		}
		if seen != 250 {
			t.Errorf("%d connections", seen)
		}
		_, err := i.client.Connections(ctxFor(t), ConnQuery{Node: "n2"})
		if (err == nil) != (words == "") {
			t.Errorf("of a node: %v", err)
		}
		i.stop()
	}
	i := newRig(t, 1).start()
	if _, err := i.client.Connections(ctxFor(t), ConnQuery{Node: "n2"}); err == nil || !strings.Contains(err.Error(), "alone") {
		t.Errorf("a node where there is one: %v", err)
	}
	i.stop()
}

func TestBrokerAsksForStatus(t *testing.T) {
	r := newRig(t, 1)
	api := "http://127.0.0.1:" + freePort(t)
	r.plan.Listeners = append(r.plan.Listeners, Listener{Address: api})
	r.plan.Broker.Listen = []string{api}
	r.savePlan()
	i := r.start()
	var st Status
	if err := json.Unmarshal([]byte(dialPeer(t, api).ask("status")), &st); err != nil {
		t.Fatal(err)
	}
	if len(st.Workers) != 1 || st.Workers[0].PID != i.worker(0).PID || st.Broker.State != Ready {
		t.Errorf("status: %+v", st)
	}
	if got := dialPeer(t, r.addr).ask("status"); !strings.Contains(got, "only to the broker process") {
		t.Errorf("a worker is answered %q", got)
	}
	i.stop()
}

// TestStatusAsksWhatIsAnswered: the broker process is asked what its plan says that it
// answers. One of a version before would leave the status waiting.
func TestStatusAsksWhatIsAnswered(t *testing.T) {
	for _, answers := range [][]string{nil, {control.QueryServices}} {
		r := newRig(t, 1)
		r.plan.Broker.Answers = answers
		r.savePlan()
		i := r.start()
		if st := i.status(); len(st.Services) != len(answers) || len(st.Nodes) != 0 {
			t.Errorf("it answers %v: %+v", answers, st)
		}
		if asked := r.read("nodes"); asked != "" {
			t.Errorf("it answers %v, and was asked for its nodes: %s", answers, asked)
		}
		i.stop()
	}
}

func TestDialWithoutMaster(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("empty directory: %v", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/" + controlSock, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("dead socket: %v", err)
	}
}

func TestStatusJSON(t *testing.T) {
	w := WorkerStatus{Name: "push", Slot: 1, PID: 9, State: Ready, Generation: 2, Listen: []string{"a"},
		Stats: json.RawMessage(`{"connections":3,"listen":["theirs"],"opened":4}`)}
	data, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "slot", "pid", "state", "generation", "started", "listen", "connections", "messages_in",
		"messages_out", "send_failures", "queue_bytes", "timers", "rss_bytes", "loop_lag_ms", "restarts"} {
		if _, ok := all[key]; !ok {
			t.Errorf("%s lacks %q", data, key)
		}
	}
	if fmt.Sprint(all["listen"], all["connections"], all["opened"]) != "[a] 3 4" {
		t.Errorf("merged: %s", data)
	}
	var back WorkerStatus
	if err := json.Unmarshal(data, &back); err != nil || back.PID != 9 || string(back.Stats) != string(data) {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

func TestReloadErrorJSON(t *testing.T) {
	e := &ReloadError{Worker: "push", Slot: 2, Step: "load handlers", Lost: 3, Done: 2, Err: errors.New("no such handler")}
	data, err := json.Marshal(e)
	if want := `{"ok":false,"error":"load handlers: no such handler","worker":"push","slot":2,"step":"load handlers","lost":3,"replaced":2}`; err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
	var back ReloadError
	if err := json.Unmarshal(data, &back); err != nil || back.Error() != e.Error() || back.Worker != "push" || back.Lost != 3 || back.Done != 2 {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

func TestReadLine(t *testing.T) {
	in := bufio.NewReaderSize(strings.NewReader("one\n"+strings.Repeat("x", 100)+"\nrest"), 16)
	for _, want := range []string{"one", strings.Repeat("x", 100)} {
		if line, err := readLine(in, 200); string(line) != want || err != nil {
			t.Errorf("%q, %v", line, err)
		}
	}
	if _, err := readLine(in, 200); err == nil {
		t.Error("an unfinished line is accepted")
	}
}
