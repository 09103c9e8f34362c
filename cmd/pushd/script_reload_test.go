package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// renewed is the part of `reload --json` that is about programs.
type renewed struct {
	OK             bool
	Error, Step    string
	Moved, Drained int
	Slots          []struct {
		Old     int `json:"old_pid"`
		New     int `json:"new_pid"`
		Scripts []struct {
			Old    int     `json:"old_pid"`
			New    int     `json:"new_pid"`
			Pause  float64 `json:"pause_ms"`
			Closed int
		}
	}
}

func (s scripted) renew() (r renewed) {
	s.t.Helper()
	out := s.Run("reload", "--json")
	if err := json.Unmarshal([]byte(out.Stdout), &r); err != nil {
		s.t.Fatalf("%v: %+v", err, out)
	}
	return r
}

// changed is the config with another value in it that no process has, so that a
// reload replaces the workers.
func (s scripted) change(more string) {
	s.t.Helper()
	text, err := os.ReadFile(s.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\nslow = ")
	s.WriteConfig(first + "\nslow = \"close\"\n" + more + "\n")
}

// TestScriptReload: when nothing else has changed only the program is replaced:
// nobody is closed, sessions and what it carries stay, and code that does not
// start never takes over.
func TestScriptReload(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { BROKEN = "{{dir}}/broken", WANTS = "open" }`)
	a, b := s.Dial("/"), s.Dial("/")
	says(t, a, "set Ann", "set")
	says(t, a, "keep the map", "kept")
	says(t, b, "join room", "joined")
	says(t, a, "seen", "open open")
	worker := s.Status().Workers[0].PID
	before := s.idle()
	r := s.renew()
	if !r.OK || r.Drained != 0 || len(r.Slots) != 1 || r.Slots[0].New != worker || r.Slots[0].Old != worker || len(r.Slots[0].Scripts) != 1 {
		t.Fatalf("%+v", r)
	}
	if one := r.Slots[0].Scripts[0]; one.Old != before.PID || one.New == before.PID || one.Closed != 0 {
		t.Errorf("%+v", one)
	}
	says(t, a, "seen", "carried:2 resume resume")
	says(t, a, "carried", "the map")
	says(t, a, "get", "Ann")
	a.SendText("publish room still a member")
	b.WantText("still a member")

	broken := filepath.Join(s.Dir, "broken")
	if err := os.WriteFile(broken, []byte("a semicolon is missing"), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := s.idle().PID
	if r := s.renew(); r.OK || r.Step != "script" || !strings.Contains(r.Error, "broken: a semicolon is missing") {
		t.Errorf("code that does not start: %+v", r)
	}
	s.change("ping_interval = \"50s\"") // the worker's turn
	if r := s.renew(); r.OK || !strings.Contains(r.Error, "a semicolon is missing") {
		t.Errorf("code that does not start, in a new worker: %+v", r)
	}
	says(t, a, "carried", "the map")
	if one := s.idle(); one.PID != pid {
		t.Errorf("the process before does not go on: %+v", one)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if r := s.renew(); !r.OK || r.Slots[0].New == worker || r.Moved != 2 || r.Drained != 0 {
		t.Errorf("a full reload: %+v", r)
	}
	says(t, a, "seen", "carried:2 resume resume")
	says(t, a, "carried", "the map")
	says(t, a, "get", "Ann")

	worker = s.Status().Workers[0].PID
	if out := s.MustRun("reload", "--all"); s.Status().Workers[0].PID == worker {
		t.Errorf("reload --all has left the worker: %s", out)
	}
	says(t, a, "carried", "the map")
	says(t, a, "get", "Ann")
}

// TestScriptGreeting: what a new process is told of those who are there is no
// load, so it keeps no client waiting; and a process that dies of it, or in that
// moment, leaves what was carried to the next one.
func TestScriptGreeting(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `queue = "4KiB"
env = { DIES = "{{dir}}/dies", WANTS = "open" }`)
	a, b := s.Dial("/"), s.Dial("/")
	for range 40 { // 8 KiB to tell of them
		says(t, s.Dial("/"), "set "+strings.Repeat("x", 200), "set")
	}
	says(t, a, "keep the map", "kept")
	before := s.idle()
	if r := s.renew(); !r.OK || r.Slots[0].Scripts[0].Closed != 0 {
		t.Fatalf("%+v", r)
	}
	says(t, b, "carried", "the map")
	if one := s.idle(); one.Holds != before.Holds || one.Told != 42 {
		t.Errorf("%+v, after %+v", one, before)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "dies"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := s.renew(); !r.OK || r.Slots[0].Scripts[0].Closed != 0 || s.scripts()[0].Births != before.Births+3 {
		t.Errorf("the one after it is there: %+v", r)
	}
	says(t, b, "carried", "the map")
	says(t, a, "here", "here")
	if one := s.idle(); one.Births != before.Births+3 || one.Doubts+one.Strands != 0 || one.Told != 42 {
		t.Errorf("%+v", one)
	}

	// What three have died of is given up, with those who were in it, and that is told.
	if err := os.WriteFile(filepath.Join(s.Dir, "dies"), []byte("always"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := s.renew(); !r.OK || r.Slots[0].Scripts[0].Closed != 42 {
		t.Errorf("they cost 42: %+v", r)
	}
	for _, c := range []*pushdtest.Client{a, b} {
		if code := closed(t, c); code != 1012 {
			t.Errorf("who was carried to those that die was closed with %d", code)
		}
	}
	says(t, s.Dial("/"), "here", "here")
	if one := s.idle(); one.Births != before.Births+7 || one.Strands != 42 {
		t.Errorf("%+v, before %+v", one, before)
	}
	if log := s.Log(); !strings.Contains(log, "what was carried is given up") || !strings.Contains(log, "processes=3 closed=42") {
		t.Errorf("the log does not say it:\n%s", log)
	}
}

// TestScriptLingers: a program that has said all holds nobody up, whatever it does before
// its process ends: the next one serves beside it.
func TestScriptLingers(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "open linger" }`)
	c := s.Dial("/")
	says(t, c, "seen", "open")
	for range 20 { // it is killed after 300 ms, which a busy machine may take to get on
		if r := s.renew(); !r.OK {
			t.Fatalf("%+v", r)
		}
		if strings.Contains(ask(t, c, "seen"), "beside") {
			return
		}
	}
	t.Error("the process before has always been gone")
}

// TestScriptToldLater: a program that wants that is told of those who are there in
// pieces, of each as of one that was there before, or at once when it asks; and
// who leaves meanwhile is no matter.
func TestScriptToldLater(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "open later" }
limits = { max_message = "128KiB" }`)
	const n = 12
	var list []*pushdtest.Client
	for range n { // two fill a piece
		c := s.Dial("/")
		says(t, c, "set "+strings.Repeat("x", 20_000), "set")
		list = append(list, c)
	}
	says(t, list[0], "seen", strings.TrimSpace(strings.Repeat("open ", n)))
	kill(t, s.idle().PID)
	pushdtest.Eventually(t, "all are known again", func() bool { one := s.idle(); return one.Births == 2 && one.Told == n })
	says(t, list[n-1], "seen", strings.TrimSpace(strings.Repeat("resume ", n)))

	one := s.idle()
	pushdtest.Freeze(t, one.PID)
	list[1].SendText("asks")
	list[2].Close()
	for range 3 {
		list[3].SendText("here")
	}
	kill(t, one.PID)
	list[1].WantText("answer 0 {}")
	for range 3 {
		list[3].WantText("here")
	}
	if one := s.idle(); one.Told != n-1 || one.Doubts != 0 {
		t.Errorf("%+v", one)
	}
}

// TestScriptCarriedFirst: a client that comes to the new worker before the others
// do is heard when they have come, and the program has what was carried to it.
func TestScriptCarriedFirst(t *testing.T) {
	t.Parallel()
	for _, at := range []killPoint{{"ready", 1}, {"import carry", 1}} {
		t.Run(at.point, func(t *testing.T) {
			t.Parallel()
			s := walk(t, "", `env = { WANTS = "open close" }`, "-tags", "faults")
			a, b := s.Dial("/"), s.Dial("/")
			says(t, a, "keep the map", "kept")
			says(t, b, "here", "here")
			st := s.Status()
			old, master := st.Workers[0].PID, st.Master.PID
			order(t, s.Server, at.point, at.n, unix.SIGSTOP, map[string]int{"ready": master, "import carry": old}[at.point])
			s.change(`ping_interval = "50s"`)
			reloaded := make(chan renewed, 1)
			go func() { reloaded <- s.renew() }()
			pushdtest.Eventually(t, "the new worker is there", func() bool {
				_, err := os.Stat(filepath.Join(s.Dir, "fault"))
				return os.IsNotExist(err)
			})
			pushdtest.Freeze(t, master) // it would miss the old worker
			pushdtest.Freeze(t, old)    // so that those who come now come to the new one
			before, _ := clientsOf(t, s.Port)
			dialled := make(chan *pushdtest.Client, 1)
			go func() { dialled <- s.Dial("/") }()
			pushdtest.Eventually(t, "the new worker has accepted somebody", func() bool {
				n, waiting := clientsOf(t, s.Port)
				return n == before+1 && waiting == 0
			})
			signal(t, old, unix.SIGCONT)
			signal(t, master, unix.SIGCONT)
			if r := <-reloaded; !r.OK || r.Moved != 2 || r.Drained != 0 {
				t.Errorf("%+v", r)
			}
			early := <-dialled
			says(t, early, "seen", "carried:2 resume resume open")
			says(t, early, "carried", "the map")
			says(t, a, "carried", "the map")
		})
	}
}

// clientsOf counts the clients of a port, and those of them who wait to be
// accepted.
func clientsOf(t *testing.T, port int) (n, waiting int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line) // number, local, remote, state, queues: tx:rx
		if len(f) < 5 || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			continue
		}
		switch f[3] {
		case "01":
			n++
		case "0A":
			_, backlog, _ := strings.Cut(f[4], ":")
			fmt.Sscanf(backlog, "%x", &waiting)
		}
	}
	return n, waiting
}

// hasClient reports whether a process of the server has the connection of a client's
// port, which may have ended.
func hasClient(t *testing.T, port, client int) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", client)) && (f[3] == "01" || f[3] == "08") {
			return true
		}
	}
	return false
}

// TestScriptHeld: those of whom the program has said that only it knows them are
// closed when it ends without carrying them, and nobody else is.
func TestScriptHeld(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s scripted){
		"killed":      func(s scripted) { kill(t, s.idle().PID) },
		"reload":      func(s scripted) { s.renew() },
		"full reload": func(s scripted) { s.change(`ping_interval = "50s"`); s.renew() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := walk(t, "", `env = { WANTS = "holding" }`)
			a, b := s.Dial("/"), s.Dial("/")
			says(t, a, "hold", "held")
			says(t, b, "here", "here")
			s.idle()
			s.t = t
			end(s)
			if code := closed(t, a); code != 1012 {
				t.Errorf("who was held was closed with %d", code)
			}
			says(t, b, "here", "here")
		})
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// loaded is a server whose clients echo through the program and chat beside it.
// Every byte is checked, its order too.
func loaded(t *testing.T) (scripted, *load) {
	t.Helper()
	s := walk(t, "", `env = { WANTS = "open" }
limits = { max_queue = "64MiB" }
routes = { "/chat" = "chat" }`)
	return s, stand(t, s.Server)
}

// over ends the load; nobody was closed because of the program.
func (s scripted) over(l *load, allowed ...string) {
	s.t.Helper()
	l.end(allowed...)
	if one := s.idle(); one.Doubts+one.Strands != 0 {
		s.t.Errorf("%+v", one)
	}
}

// TestScriptUnderLoad: programs and workers are replaced again and again, and
// nothing is lost, closed, or in another order.
func TestScriptUnderLoad(t *testing.T) {
	s, l := loaded(t)
	for i := range 3 {
		if r := s.renew(); !r.OK || r.Drained != 0 || len(r.Slots[0].Scripts) != 1 || r.Slots[0].Scripts[0].Closed != 0 {
			t.Errorf("reload of the program: %+v", r)
		}
		s.change(fmt.Sprintf("ping_interval = \"%ds\"", 50+i))
		if r := s.renew(); !r.OK || r.Drained != 0 || r.Moved < standingSessions/2 {
			t.Errorf("reload of the worker: %+v", r)
		}
	}
	s.over(l)
}

// TestScriptBrokerKilled: the broker's death costs what was published in that
// moment, by the chat or the API, and nothing that goes through the program.
func TestScriptBrokerKilled(t *testing.T) {
	s, l := loaded(t)
	broker := s.Status().Broker.PID
	kill(t, broker)
	pushdtest.Eventually(t, "the broker is back", func() bool { st := s.Status(); return st.Broker.PID != broker && st.Broker.PID > 0 })
	if r := s.renew(); !r.OK || r.Drained != 0 {
		t.Errorf("reload after the broker's death: %+v", r)
	}
	s.over(l, "loss", "gap", "refused")
}

// TestScriptRollback: a new worker that dies at some step of the hand-over costs
// what had moved to it; the old one starts its program anew, which gets what the
// one before has carried.
func TestScriptRollback(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "open" }`, "-tags", "faults")
	a, b := s.Dial("/"), s.Dial("/")
	says(t, a, "set Ann", "set")
	says(t, b, "keep the map", "kept")
	for i, at := range []killPoint{{"import", 1}, {"import carry", 1}, {"import batch", 1}} {
		order(t, s.Server, at.point, at.n, unix.SIGKILL, 0)
		s.change(fmt.Sprintf("ping_interval = \"%ds\"", 40+i))
		if r := s.renew(); r.OK || r.Drained != 0 {
			t.Errorf("%s: %+v", at, r)
		}
		carriedOut(t, s.Server)
		says(t, a, "get", "Ann")
		says(t, b, "carried", "the map")
		says(t, b, "here", "here")
	}
	if r := s.renew(); !r.OK || r.Moved != 2 || r.Drained != 0 {
		t.Errorf("%+v", r)
	}
	says(t, a, "get", "Ann")
	says(t, b, "carried", "the map")
	for _, p := range []string{"export prepare", "export carry", "export freeze"} { // the old one: as in any crash
		order(t, s.Server, p, 1, unix.SIGKILL, 0)
		s.change(`ping_interval = "` + fmt.Sprint(60+len(p)) + `s"`)
		s.renew()
		carriedOut(t, s.Server)
		says(t, s.Dial("/"), "here", "here")
		s.idle()
	}
}

// TestScriptAndCertificates: a reload that finds new certificates, or comes after
// they were renewed, replaces the programs too, and nothing else: their code may
// have changed with them.
func TestScriptAndCertificates(t *testing.T) {
	t.Parallel()
	for when, look := range map[string]string{"it finds them": "1h", "it comes after": "100ms"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			s := scripted{pushdtest.Start(t, pushdtest.Options{Manual: true, Env: []string{"PUSHD_TLS_LOOK=" + look},
				Config: walkerText(t, "", `env = { WANTS = "open" }
[[worker]]
name = "secure"
listen = "wss://`+pushdtest.FreeAddr(t)+`"
tls = { cert = "cert.pem", key = "key.pem" }
count = 1
handler = "echo"`)}), t}
			ca := testkit.NewCA(t)
			issue := func() {
				ca.Write(filepath.Join(s.Dir, "cert.pem"), filepath.Join(s.Dir, "key.pem"), month, "push.example.com")
			}
			issue()
			s.MustRun("start", "-d")
			a := s.Dial("/")
			says(t, a, "seen", "open")
			before, program := s.Status(), s.idle()
			issue()
			if look != "1h" {
				pushdtest.Eventually(t, "they are renewed", func() bool { return strings.Contains(s.Log(), "certificate renewed") })
			}
			if r := s.renew(); !r.OK || r.Drained != 0 || len(r.Slots) != 1 || len(r.Slots[0].Scripts) != 1 {
				t.Errorf("%+v", r)
			}
			if s.idle().PID == program.PID {
				t.Error("the program is the one of before")
			}
			says(t, a, "seen", "carried:1 resume")
			if n := strings.Count(s.Log(), "certificate renewed"); n != 1 {
				t.Errorf("certificates were renewed %d times", n)
			}
			for i, w := range s.Status().Workers {
				if w.PID != before.Workers[i].PID {
					t.Errorf("worker %d is replaced", i)
				}
			}
		})
	}
}
