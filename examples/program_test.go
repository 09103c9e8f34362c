package examples

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests; none of them measures time.
const patience = 20 * time.Second

// built is the folder with all the programs, made once.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "examples")
		if err != nil {
			fmt.Fprintln(os.Stderr, "make folder for the programs:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		built = dir
		build := exec.Command("go", "build", "-o", dir+"/", "./...")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, out)
			return 1
		}
		return m.Run()
	}())
}

// program is a running example, in a folder of its own.
type program struct {
	t      *testing.T
	name   string
	dir    string // working directory; logs and sockets are here
	env    []string
	flags  []string
	cmd    *exec.Cmd
	out    *transcript
	addr   string // where PUSHD_LISTEN has moved it
	exited chan error
}

// prepare makes the surroundings of a program: nothing in them is shared with
// another one.
func prepare(t *testing.T, name string, env ...string) *program {
	t.Helper()
	dir, err := os.MkdirTemp("", name) // t.TempDir's paths can be too long for a unix socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &program{t: t, name: name, dir: dir, addr: freePort(t), exited: make(chan error, 1)}
	p.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
		"PUSHD_RUNTIME_DIR=" + dir + "/run", "PUSHD_DATA_DIR=" + dir + "/data",
		"PUSHD_API_LISTEN=" + freePort(t), "PUSHD_API_KEY=of-the-test",
		"PUSHD_LISTEN=" + p.addr, "PUSHD_DRAIN=0s",
	}, env...)
	return p
}

// start runs the program until the end of the test and returns when it is ready.
func start(t *testing.T, name string, env ...string) *program {
	t.Helper()
	p := prepare(t, name, env...)
	p.start()
	return p
}

func (p *program) start() {
	p.t.Helper()
	p.out = newTranscript()
	p.cmd = p.command("start")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	must(p.t, p.cmd.Start())
	go func() {
		p.exited <- p.cmd.Wait()
		p.out.end()
	}()
	p.t.Cleanup(p.stop)
	p.out.await(p.t, "ready")
}

// command is the program with one of its verbs.
func (p *program) command(verb string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(built, p.name), append(append([]string{verb}, p.flags...), args...)...)
	c.Dir, c.Env = p.dir, p.env
	return c
}

// run runs a verb to its end and returns what it printed.
func (p *program) run(verb string, args ...string) string {
	p.t.Helper()
	var stderr bytes.Buffer
	c := p.command(verb, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s%s", p.name, verb, err, out, stderr.Bytes())
	}
	return string(out)
}

// stop ends the program as its user would, and fails if a process is left.
func (p *program) stop() {
	if out, err := p.command("stop").CombinedOutput(); err != nil {
		p.t.Errorf("%s stop: %v\n%s", p.name, err, out)
		p.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case err := <-p.exited:
		if err != nil {
			p.t.Errorf("%s ended with %v", p.name, err)
		}
	case <-time.After(patience):
		p.t.Errorf("%s does not end", p.name)
	}
	for _, pid := range p.processes() {
		p.t.Errorf("%s left process %d", p.name, pid)
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if p.t.Failed() {
		p.t.Logf("output of %s:\n%s", p.name, p.out)
	}
}

// processes finds the processes of the program by their environment.
func (p *program) processes() (pids []int) {
	mine := []byte("PUSHD_RUNTIME_DIR=" + p.dir + "/run\x00")
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, err := os.ReadFile(f) // of a process that is gone, or not ours: an error
		var pid int
		if err == nil && bytes.Contains(append(env, 0), mine) {
			fmt.Sscanf(f, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// workers returns the process ids of a group by slot.
func (p *program) workers(group string) []int {
	p.t.Helper()
	var status struct {
		Workers []struct {
			Name      string
			Slot, PID int
		}
	}
	must(p.t, json.Unmarshal([]byte(p.run("status", "--json")), &status))
	pids := []int{}
	for _, w := range status.Workers {
		if w.Name != group {
			continue
		}
		if w.Slot != len(pids) {
			p.t.Fatalf("slots of %s are not in order: %+v", group, status.Workers)
		}
		pids = append(pids, w.PID)
	}
	return pids
}

// plan is what the program would run, as "LISTEN count" lines by worker group.
func (p *program) plan() map[string]string {
	p.t.Helper()
	var plan struct {
		Workers []struct {
			Name   string
			Listen []string
			Count  int
		}
	}
	must(p.t, json.Unmarshal([]byte(p.run("plan", "--json")), &plan))
	groups := map[string]string{}
	for _, w := range plan.Workers {
		groups[w.Name] = fmt.Sprintf("%s %d", strings.Join(w.Listen, " "), w.Count)
	}
	return groups
}

// transcript is what a program prints, to be waited for.
type transcript struct {
	mu    sync.Mutex
	grown *sync.Cond
	text  bytes.Buffer
	ended bool
}

func newTranscript() *transcript {
	o := &transcript{}
	o.grown = sync.NewCond(&o.mu)
	return o
}

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.grown.Broadcast()
	return o.text.Write(p)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *transcript) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.grown.Broadcast()
}

// await waits for a line that begins with prefix.
func (o *transcript) await(t *testing.T, prefix string) { t.Helper(); o.awaitCount(t, prefix, 1) }

// awaitCount waits for n such lines, and fails if there are more.
func (o *transcript) awaitCount(t *testing.T, prefix string, n int) {
	t.Helper()
	var late bool
	timer := time.AfterFunc(patience, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		late = true
		o.grown.Broadcast()
	})
	defer timer.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		have := lines(o.text.String(), prefix)
		switch {
		case have == n:
			return
		case have > n || late || o.ended:
			t.Fatalf("%d lines begin with %q, not %d:\n%s", have, prefix, n, o.text.String())
		}
		o.grown.Wait()
	}
}

func lines(text, prefix string) (n int) {
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if strings.HasPrefix(s.Text(), prefix) {
			n++
		}
	}
	return n
}

// freePort returns an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// php runs a PHP program with the environment of p and returns what it prints.
func (p *program) php(args ...string) string {
	p.t.Helper()
	c := p.phpCommand(args...)
	out, err := c.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", c, err, out)
	}
	return string(out)
}

func (p *program) phpCommand(args ...string) *exec.Cmd {
	p.t.Helper()
	bin, err := exec.LookPath("php")
	if err != nil {
		p.t.Fatal("php is not installed: the Debian package is php-cli")
	}
	c := exec.Command(bin, args...)
	c.Env = p.env
	return c
}

// getenv is a variable of the program's environment.
func (p *program) getenv(key string) string {
	value := ""
	for _, e := range p.env { // the last one counts
		if k, v, _ := strings.Cut(e, "="); k == key {
			value = v
		}
	}
	return value
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
