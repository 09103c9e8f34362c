//go:build linux

package master

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/control"
)

const (
	masterEnv = "PUSHD_TEST_MASTER" // JSON of masterArgs: the test binary is a master
	bound     = 30 * time.Second    // of every wait; none of them is normally long
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(control.RoleEnv) != "":
		fakeMain()
	case os.Getenv(PlanFDEnv) != "":
		fakePlan()
	case os.Getenv(TakeoverEnv) != "":
		takeoverMain()
	case os.Getenv(masterEnv) != "":
		masterMain()
	default:
		syscall.Umask(0o022) // whatever the caller's is: workers of another user leave notes
		for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
			if signal.Ignored(sig) { // as in the background of a script: masters would ignore them too
				signal.Notify(make(chan os.Signal, 1), sig)
			}
		}
		os.Exit(m.Run())
	}
}

// masterArgs are the options of a master in a process of its own.
type masterArgs struct {
	Options Options
	Timing  map[string]time.Duration
}

// takeoverMain is a master's new version. A file named "broken" beside the
// plan makes it one that cannot take over.
func takeoverMain() {
	if reason, err := os.ReadFile(os.Getenv("PUSHD_TEST_RIG") + "/broken"); err == nil {
		fmt.Fprint(os.Stderr, string(reason))
		os.Exit(1)
	}
	check := os.Getenv(TakeoverEnv) == takeoverCheck
	err := TakeOver(context.Background(), "new", nil)
	switch {
	case err != nil && check:
		fmt.Fprint(os.Stderr, err)
		os.Exit(1)
	case err != nil:
		fmt.Println("error", err)
		os.Exit(1)
	case !check:
		fmt.Println("stopped")
	}
}

func masterMain() {
	var a masterArgs
	if err := json.Unmarshal([]byte(os.Getenv(masterEnv)), &a); err != nil {
		fmt.Println("error", err)
		os.Exit(2)
	}
	os.Unsetenv(masterEnv)
	t := defaultTiming
	for name, d := range a.Timing {
		*map[string]*time.Duration{
			"plan": &t.plan, "boot": &t.boot, "delayMin": &t.delayMin, "delayMax": &t.delayMax, "window": &t.window,
			"abortGrace": &t.abortGrace, "orphans": &t.orphans, "leave": &t.leave, "leaveBus": &t.leaveBus, "leaveData": &t.leaveData, "silence": &t.silence, "query": &t.query,
		}[name] = d
	}
	a.Options.Announce = func(s Started) {
		data, _ := json.Marshal(s)
		fmt.Println("ready", string(data))
	}
	if err := run(context.Background(), a.Options, t); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("stopped")
}

// rig is a runtime directory, a plan and the masters that run on them.
type rig struct {
	t    *testing.T
	dir  string
	plan Plan
	args masterArgs
	addr string // of the worker group "push"
}

// instance is one run of a master.
type instance struct {
	r       *rig
	cmd     *exec.Cmd
	out     *bufio.Reader
	client  *Client
	started Started
}

// newRig plans a broker process and a group "push" of count workers.
func newRig(t *testing.T, count int) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "pushd") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // workers of other users leave notes here
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, addr: "text://127.0.0.1:" + freePort(t)}
	t.Cleanup(r.cleanUp)
	r.args = masterArgs{Timing: map[string]time.Duration{}, Options: Options{
		Program: self, PlanArgs: []string{r.path("plan")}, RuntimeDir: r.path("run"), Version: "test", Foreground: true,
	}}
	r.plan = Plan{
		Version: PlanVersion, Program: "fake", RuntimeDir: r.path("run"), DrainMS: 200,
		Listeners: []Listener{{Address: r.addr, UserTimeoutMS: 9000}},
		Workers:   []Group{{Name: "push", Listen: []string{r.addr}, Count: count, Spec: r.spec("worker", "")}},
		Broker:    &BrokerPlan{Spec: r.spec("broker", "")},
	}
	r.savePlan()
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// spec makes the Spec of fake processes whose behaviour is the file of that name.
func (r *rig) spec(name, mark string) json.RawMessage {
	raw, err := json.Marshal(fakeSpec{Behaviour: r.path(name), Dir: r.dir, Mark: mark})
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

// behave sets what processes do that start from now on.
func (r *rig) behave(name, words string) { r.write(name, words) }

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) savePlan() {
	r.t.Helper()
	data, err := json.Marshal(r.plan)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("plan", string(data))
}

func (r *rig) read(name string) string {
	data, _ := os.ReadFile(r.path(name))
	return string(data)
}

// launch runs a master without waiting for anything.
func (r *rig) launch() *instance {
	r.t.Helper()
	args, err := json.Marshal(r.args)
	if err != nil {
		r.t.Fatal(err)
	}
	log, err := os.OpenFile(r.path("log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	i := &instance{r: r, cmd: exec.Command(r.args.Options.Program)}
	i.cmd.Env = append(os.Environ(), masterEnv+"="+string(args), "PUSHD_TEST_RIG="+r.dir,
		"GORACE=atexit_sleep_ms=0 halt_on_error=1") // under -race each process would linger for a second
	i.cmd.Stderr = log
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	i.out = bufio.NewReader(out)
	if err := i.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = i.cmd.Process.Kill(); _ = i.cmd.Wait() }) // for tests that failed half way
	return i
}

// start runs a master until it is ready.
func (r *rig) start() *instance {
	r.t.Helper()
	i := r.launch()
	word, rest := i.said()
	if word != "ready" {
		r.t.Fatalf("start: %s %s", word, rest)
	}
	if err := json.Unmarshal([]byte(rest), &i.started); err != nil {
		r.t.Fatal(err)
	}
	i.dial()
	return i
}

// failedStart returns the error of a start that must fail.
func (r *rig) failedStart() string {
	r.t.Helper()
	i := r.launch()
	word, rest := i.said()
	if word != "error" {
		r.t.Fatalf("start should fail, but: %s %s", word, rest)
	}
	if err := i.cmd.Wait(); err == nil {
		r.t.Error("a failed start has exit code 0")
	}
	return rest
}

// said returns the next line of the master's stdout, which it writes "ready",
// "stopped" or "error" to. Lines of the processes are skipped.
func (i *instance) said() (word, rest string) {
	i.r.t.Helper()
	line := make(chan string, 1)
	go func() {
		for {
			s, err := i.out.ReadString('\n')
			w, _, _ := strings.Cut(strings.TrimSpace(s), " ")
			if err != nil || w == "ready" || w == "stopped" || w == "error" {
				line <- s
				return
			}
		}
	}()
	select {
	case s := <-line:
		word, rest, _ = strings.Cut(strings.TrimSpace(s), " ")
		return word, rest
	case <-time.After(bound):
		i.r.t.Fatal("the master says nothing")
		return "", ""
	}
}

func (i *instance) dial() {
	i.r.t.Helper()
	c, err := Dial(i.r.args.Options.RuntimeDir)
	if err != nil {
		i.r.t.Fatal(err)
	}
	i.client = c
	i.r.t.Cleanup(func() { c.Close() })
}

func (i *instance) status() *Status {
	i.r.t.Helper()
	c, err := Dial(i.r.args.Options.RuntimeDir)
	if err != nil {
		i.r.t.Fatal(err)
	}
	defer c.Close()
	st, err := c.Status(ctxFor(i.r.t))
	if err != nil {
		i.r.t.Fatal(err)
	}
	return st
}

// reload runs a reload that must succeed.
func (i *instance) reload() *ReloadReport {
	i.r.t.Helper()
	report, err := i.client.Reload(ctxFor(i.r.t), nil)
	if err != nil {
		i.r.t.Fatal(err)
	}
	return report
}

// failedReload returns the error of a reload that must fail.
func (i *instance) failedReload() *ReloadError {
	i.r.t.Helper()
	_, err := i.client.Reload(ctxFor(i.r.t), nil)
	e, ok := err.(*ReloadError)
	if !ok {
		i.r.t.Fatalf("reload should fail with a ReloadError, but: %v", err)
	}
	return e
}

// stop stops the master and checks that nothing is left.
func (i *instance) stop() {
	i.r.t.Helper()
	if err := i.client.Stop(ctxFor(i.r.t), StopOptions{}); err != nil {
		i.r.t.Fatal(err)
	}
	i.ended()
}

// ended waits for an ordered end.
func (i *instance) ended() {
	i.r.t.Helper()
	if word, rest := i.said(); word != "stopped" {
		i.r.t.Errorf("the master ended with: %s %s", word, rest)
	}
	if err := i.cmd.Wait(); err != nil {
		i.r.t.Errorf("the master ended with %v", err)
	}
	i.r.nothingLeft()
}

func (i *instance) signal(sig syscall.Signal) {
	i.r.t.Helper()
	if err := i.cmd.Process.Signal(sig); err != nil {
		i.r.t.Fatal(err)
	}
}

// nothingLeft checks for processes and files.
func (r *rig) nothingLeft() {
	r.t.Helper()
	if left := r.processes(); len(left) > 0 {
		r.t.Errorf("processes left: %v", left)
	}
	entries, err := os.ReadDir(r.args.Options.RuntimeDir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != lockFile {
			r.t.Errorf("left in the runtime directory: %s", e.Name())
		}
	}
}

// processes finds children of this rig's masters, whoever is their parent now,
// by the notes' directory in their environment.
func (r *rig) processes() []int {
	var found []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range dirs {
		env, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(env), "PUSHD_TEST_RIG="+r.dir+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if s, err := readStat(pid); err == nil && s.state != 'Z' && pid != os.Getpid() {
				found = append(found, pid)
			}
		}
	}
	return found
}

// cleanUp ends what a failed test has left and shows the log of one.
func (r *rig) cleanUp() {
	for _, pid := range r.processes() {
		if r.t.Failed() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			continue
		}
		r.t.Errorf("process %d is left", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if r.t.Failed() {
		r.t.Logf("log:\n%s", r.read("log"))
	}
	os.RemoveAll(r.dir)
}

func ctxFor(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok.
func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(pushdtest.FreePort(t))
}

// peer is a client of a fake process.
type peer struct {
	t  *testing.T
	c  net.Conn
	in *bufio.Reader
}

func dialPeer(t *testing.T, address string) *peer {
	t.Helper()
	e, err := endpointOf(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial(e.network, e.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t, c, bufio.NewReader(c)}
}

func (p *peer) ask(line string) string {
	p.t.Helper()
	_ = p.c.SetDeadline(time.Now().Add(bound))
	if _, err := fmt.Fprintln(p.c, line); err != nil {
		p.t.Fatal(err)
	}
	return p.line()
}

func (p *peer) line() string {
	p.t.Helper()
	s, err := p.in.ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(s)
}
