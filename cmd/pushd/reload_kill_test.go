package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// killConfig leaves room for the queues of slow readers.
const killConfig = `
drain = "100ms"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
limits = { max_queue = "64MiB" }
routes = { "/echo" = "echo", "/chat" = "chat" }
`

// patient is for tests that stop a worker while many clients go to the other.
const patient = "watchdog = 0\n"

// faulty starts a server whose processes fail where the test wants it; keys are
// put before killConfig.
func faulty(t *testing.T, keys ...string) *pushdtest.Server {
	t.Helper()
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Join(keys, "") + killConfig, Flags: []string{"-tags", "faults"}, Manual: true,
		Env: []string{"PUSHD_TEST_FAULT=fault"}}) // children run in the server's folder
	s.MustRun("start", "-d")
	return s
}

// order tells the process that passes a point for the nth time to send a signal
// to pid, 0 being itself.
func order(t *testing.T, s *pushdtest.Server, point string, n int, sig unix.Signal, pid int) {
	t.Helper()
	path := filepath.Join(s.Dir, "fault")
	text := fmt.Sprintf("%s\n%d\n%d\n%d\n", point, n, sig, pid)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// carriedOut fails the test unless the order was.
func carriedOut(t *testing.T, s *pushdtest.Server) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.Dir, "fault")); err == nil {
		t.Error("nobody has passed the point: nothing was tested")
	}
}

// failedReload is what `reload --json` says when it fails.
type failedReload struct {
	OK     bool
	Error  string
	Worker string
	Slot   int
	Step   string
	Lost   int
}

// refusedReload runs a reload that has to fail, in time and with its place.
func refusedReload(t *testing.T, s *pushdtest.Server) (f failedReload) {
	t.Helper()
	r := s.Run("reload", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &f); err != nil || r.Code != 1 || f.OK {
		t.Fatalf("reload: exit %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	if f.Error == "" || f.Step == "" || r.Took > 10*time.Second {
		t.Errorf("reload failed after %s with %+v", r.Took, f)
	}
	return f
}

// ownedOnce fails the test unless each client that has a connection is listed
// once by one worker, and no id is listed twice.
func ownedOnce(t *testing.T, s *pushdtest.Server, load *standing) {
	t.Helper()
	byPort, ids := map[int]int{}, map[string]int{}
	for _, l := range listing(t, s, "") {
		byPort[l.Port]++
		if ids[l.ID]++; ids[l.ID] > 1 {
			t.Errorf("connection %s is listed twice", l.ID)
		}
	}
	for _, w := range load.clients() {
		if n := byPort[w.port]; n != 1 {
			t.Errorf("a client of %s is owned %d times", w.path, n)
		}
	}
}

// killPoint is where a process of a reload fails: the nth time at a point.
type killPoint struct {
	point string
	n     int
}

func (k killPoint) String() string { return fmt.Sprintf("%s %d", k.point, k.n) }

// newWorkersPoints are all steps of a new worker, and those of each of three batches.
func newWorkersPoints() (all []killPoint) {
	for _, point := range []string{"start", "ready", "import", "import hello"} {
		all = append(all, killPoint{point, 1})
	}
	for batch := 1; batch <= 3; batch++ {
		for _, point := range []string{"import batch", "import ack", "import commit", "import admit", "import landed"} {
			all = append(all, killPoint{point, batch})
		}
	}
	return append(all, killPoint{"import end", 1})
}

// before says that nothing can have been committed yet.
func (k killPoint) before() bool {
	return !strings.HasPrefix(k.point, "import") || k.point == "import" || k.point == "import hello" || k == killPoint{"import batch", 1}
}

// killCrowd gives each slot a canary, a full batch and a third one.
var killCrowd = mass{echo: 205, members: 25, slow: 1}

// TestKillNewWorker kills the new worker at every step of a reload and every
// boundary of a batch. What had been committed to it ends with it and is
// reported; every other client stays, is owned once and misses nothing; the next
// reload works.
func TestKillNewWorker(t *testing.T) {
	t.Parallel()
	s := faulty(t, patient)
	load := keepUp(t, s, killCrowd)
	lost, rows := 0, newWorkersPoints()
	for _, at := range rows {
		t.Run(at.String(), func(t *testing.T) { lost += failNewWorker(t, s, load, at, unix.SIGKILL) })
		load.refill(killCrowd)
	}
	t.Run("import report 1", func(t *testing.T) { lost += killAfterReport(t, s, load) })
	load.judge(lost, len(rows)+1)
}

// killAfterReport kills the new worker of slot 0 when its last word is on its
// way. If the word arrives, that was a crash after the hand-over; if the
// connection's end overtakes it, the reload fails. Either way the clients of
// the slot are lost and no others. It returns how many.
func killAfterReport(t *testing.T, s *pushdtest.Server, load *standing) (lost int) {
	t.Helper()
	inSlot := s.Status().Workers[0].Connections
	load.breaks()
	order(t, s, "import report", 1, unix.SIGKILL, 0)
	r := s.Run("reload", "--json")
	carriedOut(t, s)
	lost = settled(t, s, load)
	if lost == 0 || lost > inSlot {
		t.Errorf("%d clients were closed, slot 0 had %d", lost, inSlot)
	}
	var f failedReload
	if err := json.Unmarshal([]byte(r.Stdout), &f); err != nil || f.OK != (r.Code == 0) {
		t.Fatalf("reload: exit %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	if !f.OK && (lost > f.Lost || lost < f.Lost-1 || f.Slot != 0) {
		t.Errorf("%d clients were closed, %d of slot %d are reported: %s", lost, f.Lost, f.Slot, f.Error)
	}
	ownedOnce(t, s, load)
	if r := reload(t, s); !r.OK || r.Moved < len(load.clients()) {
		t.Errorf("the next reload: %+v", r)
	}
	ownedOnce(t, s, load)
	return lost + load.lost()
}

// TestHangingNewWorker: one that stands still is noticed, wherever it does.
func TestHangingNewWorker(t *testing.T) {
	for _, at := range []killPoint{{"start", 1}, {"import hello", 1}, {"import batch", 2}, {"import commit", 2}} {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			s := faulty(t)
			few := mass{echo: 30, members: 5}
			load := keepUp(t, s, few)
			lost := failNewWorker(t, s, load, at, unix.SIGSTOP)
			load.refill(few)
			load.judge(lost, 1)
		})
	}
}

// failNewWorker sends the new worker of a slot, the first that gets to the
// point, a signal there, and returns how many clients were lost.
func failNewWorker(t *testing.T, s *pushdtest.Server, load *standing, at killPoint, sig unix.Signal) (lost int) {
	t.Helper()
	before := s.Status().Workers
	load.breaks()
	order(t, s, at.point, at.n, sig, 0)
	f := refusedReload(t, s)
	carriedOut(t, s)
	lost = settled(t, s, load)
	// One visitor at a time may have been among those that had moved.
	if lost > f.Lost || lost < f.Lost-1 {
		t.Errorf("%d clients were closed, %d are reported: %s", lost, f.Lost, f.Error)
	}
	if f.Worker != "push" || at.before() && f.Lost != 0 {
		t.Errorf("it failed at %s/%d with %d lost: %s", f.Worker, f.Slot, f.Lost, f.Error)
	}
	for i, w := range s.Status().Workers {
		if (w.PID == before[i].PID) != (i >= f.Slot) || w.State != "ready" {
			t.Errorf("the reload failed at slot %d; worker %d was %+v, is %+v", f.Slot, i, before[i], w)
		}
	}
	ownedOnce(t, s, load)
	accepts(t, s, f.Slot)
	if r := reload(t, s); !r.OK || r.Moved < len(load.clients()) {
		t.Errorf("the next reload: %+v", r)
	}
	ownedOnce(t, s, load)
	if more := load.lost(); more > 0 {
		t.Errorf("the next reload closed %d", more)
	}
	return lost
}

// accepts fails the test unless a new client comes to that slot.
func accepts(t *testing.T, s *pushdtest.Server, slot int) {
	t.Helper()
	s.Alone(slot, func() { s.Dial("/echo").Close() })
}

// TestKillOldWorker: what the old worker has not given away when it is killed
// ends with it, as in any crash; what it has stays.
func TestKillOldWorker(t *testing.T) {
	t.Parallel()
	killOldWorker(t, faulty(t, patient), oldWorkersPoints())
}

// oldWorkersPoints are all steps of an old worker.
func oldWorkersPoints() []killPoint {
	return []killPoint{{"export", 1}, {"export freeze", 1}, {"export freeze", 2}, {"export batch", 2}, {"export ack", 2},
		{"export close", 2}, {"export commit", 2}, {"export report", 1}}
}

func killOldWorker(t *testing.T, s *pushdtest.Server, rows []killPoint) {
	t.Helper()
	load := keepUp(t, s, killCrowd)
	total := 0
	for _, at := range rows {
		t.Run(at.String(), func(t *testing.T) {
			inSlot := s.Status().Workers[0].Connections // with a visitor, perhaps
			load.breaks()
			order(t, s, at.point, at.n, unix.SIGKILL, 0)
			r := reload(t, s)
			carriedOut(t, s)
			lost := settled(t, s, load)
			if moved := at.moved(inSlot); !r.OK || lost > inSlot-moved || moved == 0 && lost < inSlot-1 {
				t.Errorf("%d of %d were lost, %d had moved: %+v", lost, inSlot, moved, r)
			}
			ownedOnce(t, s, load)
			if r := reload(t, s); !r.OK {
				t.Errorf("the next reload: %+v", r)
			}
			ownedOnce(t, s, load)
			total += lost + load.lost()
		})
		load.refill(killCrowd)
	}
	load.judge(total, len(rows))
}

// moved is how many connections of a slot an old worker has given away for good
// at the point: the canary is a batch of 8.
func (k killPoint) moved(inSlot int) int {
	switch {
	case k.point == "export report":
		return inSlot
	case k.n == 1:
		return 0
	default:
		return 8
	}
}

// settled waits until the server lists as many clients as have a connection,
// but for a visitor, and returns how many have been closed.
func settled(t *testing.T, s *pushdtest.Server, load *standing) (lost int) {
	t.Helper()
	pushdtest.Eventually(t, "the server and the clients agree on who is there", func() bool {
		list := listing(t, s, "")
		clients := load.clients()
		return len(list)-len(clients) <= 1 && !slices.ContainsFunc(clients, func(w *walker) bool {
			return !slices.ContainsFunc(list, func(l listed) bool { return l.Port == w.port })
		})
	})
	return load.lost()
}

// TestKillBrokerDuringReload: a hand-over waits for the next broker process.
func TestKillBrokerDuringReload(t *testing.T) {
	t.Parallel()
	killBrokerDuringReload(t, faulty(t))
}

func killBrokerDuringReload(t *testing.T, s *pushdtest.Server) {
	t.Helper()
	all, _ := crowd(t, s, "/echo")
	for _, at := range []killPoint{{"import", 1}, {"export freeze", 1}, {"export batch", 1}, {"import end", 1}} {
		t.Run(at.String(), func(t *testing.T) {
			broker := s.Status().Broker.PID
			order(t, s, at.point, at.n, unix.SIGKILL, broker)
			if r := reload(t, s); !r.OK || r.Moved != len(all) || r.Drained != 0 {
				t.Errorf("%+v", r)
			}
			carriedOut(t, s)
			pushdtest.Eventually(t, "the broker is back", func() bool { return s.Status().Broker.PID != broker })
			flows(t, s, all)
			echoes(t, all, "after")
		})
	}
}

// TestStopDuringReload: whatever a hand-over has got to when the order comes, or
// the master dies, each client is told goodbye by the process that has it.
func TestStopDuringReload(t *testing.T) {
	stopDuringReload(t, func(t *testing.T) *pushdtest.Server { return faulty(t) })
}

func stopDuringReload(t *testing.T, faulty func(*testing.T) *pushdtest.Server) {
	rows := []killPoint{{"export", 1}, {"import hello", 1}, {"export freeze", 2}, {"import ack", 2}, {"export close", 2}, {"import admit", 2}, {"import end", 1}}
	for i, at := range rows {
		how := []unix.Signal{unix.SIGTERM, unix.SIGKILL}[i%2] // the next row's neighbour is as good
		t.Run(fmt.Sprintf("%s %s", unix.SignalName(how), at), func(t *testing.T) {
			t.Parallel()
			s := faulty(t)
			ends := make(chan error)
			const clients = 300
			for range clients {
				c := s.Dial("/echo")
				go func() { ends <- c.Goodbye(1001) }()
			}
			order(t, s, at.point, at.n, how, s.Status().Master.PID)
			if r := s.Run("reload"); r.Code != 1 {
				t.Errorf("reload: %+v", r)
			}
			carriedOut(t, s)
			bad := map[string]int{}
			for range clients {
				if err := <-ends; err != nil {
					bad[err.Error()]++
				}
			}
			if len(bad) > 0 {
				t.Errorf("of %d clients: %v", clients, bad)
			}
		})
	}
}

// TestKillMasterDuringReload: both workers of the slot leave, and a start works
// meanwhile.
func TestKillMasterDuringReload(t *testing.T) {
	for _, at := range []killPoint{{"import", 1}, {"import ack", 1}, {"export commit", 1}, {"import report", 1}} {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			s := faulty(t)
			crowd(t, s, "/echo")
			master := s.Status().Master.PID
			order(t, s, at.point, at.n, unix.SIGKILL, master)
			if r := s.Run("reload"); r.Code != 1 || r.Took > 10*time.Second {
				t.Errorf("reload without a master: %+v", r)
			}
			carriedOut(t, s)
			s.AwaitGone(master)
			s.MustRun("start", "-d")
			c := s.Dial("/echo")
			c.SendText("new")
			c.WantText("new")
			current := s.Status()
			pids := []int{current.Master.PID, current.Broker.PID, current.Workers[0].PID, current.Workers[1].PID}
			pushdtest.Eventually(t, "the old processes are gone", func() bool {
				return !slices.ContainsFunc(s.Processes(), func(p pushdtest.Process) bool { return !slices.Contains(pids, p.PID) })
			})
		})
	}
}
