package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// phpBeside is a program in the folders that it gets where nothing names any.
// Its file has the name that they all have, in a folder of its own.
type phpBeside struct {
	*pushdtest.Server
	file, name string
}

func newPHPBeside(t *testing.T, name, runtimeDirs string) *phpBeside {
	t.Helper()
	s, file := phpServer(t, "", "PUSHD_RUNTIME_DIR=", "PUSHD_DATA_DIR=", "PUSHD_API_LISTEN=", "PUSHD_LISTEN=",
		"XDG_RUNTIME_DIR="+runtimeDirs)
	p := &phpBeside{s, file, name}
	p.write(t, 1)
	return p
}

// write saves a version of the program.
func (p *phpBeside) write(t *testing.T, version int) {
	t.Helper()
	phpWrite(t, p.file, strings.NewReplacer(":2346", fmt.Sprintf(":%d", p.Port), "'room'", "'"+p.name+"'",
		"VERSION = 1", fmt.Sprintf("VERSION = %d", version)).Replace(phpRoom))
}

// start starts it and returns the folder that it says it runs in.
func (p *phpBeside) start(t *testing.T) string {
	t.Helper()
	out := p.MustRun("start", "-d")
	_, after, _ := strings.Cut(out, "runtime dir ")
	dir, _, found := strings.Cut(after, ",")
	if !found || !strings.Contains(dir, "/php-start-") {
		t.Fatalf("start names no folder of this program:\n%s", out)
	}
	return dir
}

// TestPHPSideBySide runs two programs on one machine that nobody has given
// folders or an API's address: what is done to one the other does not notice,
// and one that runs is not started again.
func TestPHPSideBySide(t *testing.T) {
	var dirs []string
	t.Cleanup(func() { // when the servers have gone: as root they are outside the test's folders
		for _, dir := range dirs {
			os.RemoveAll(dir)
		}
	})
	shared := t.TempDir()
	a, b := newPHPBeside(t, "a", shared), newPHPBeside(t, "b", shared)
	for _, p := range []*phpBeside{a, b} {
		dir := p.start(t)
		dirs = append(dirs, dir)
		if os.Geteuid() == 0 {
			dirs = append(dirs, strings.Replace(dir, "/run/", "/var/lib/", 1))
		}
	}
	ann, bob := a.Dial("/"), b.Dial("/")
	phpAsk(ann, "login ann", "hello ann")
	phpAsk(bob, "login bob", "hello bob")
	first := b.Status()
	if st := a.Status(); st.Master.PID == first.Master.PID || st.Workers[0].Name != "a" || first.Workers[0].Name != "b" {
		t.Errorf("a has %+v, b has %+v", st, first)
	}

	for _, line := range [][]string{{"start", "-d"}, {"start"}} {
		r := a.Run(line...)
		want := fmt.Sprintf("%s is already running as pid %d", a.file, a.Status().Master.PID)
		if r.Code != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("a second %q exits %d, wants %q:\n%s%s", line, r.Code, want, r.Stdout, r.Stderr)
		}
	}

	if out := a.MustRun("check"); !strings.Contains(out, "OK (built-in defaults): 1 worker group") {
		t.Errorf("check prints %q", out)
	}

	a.write(t, 2)
	b.write(t, 2)
	a.MustRun("reload")
	phpAsk(ann, "who", "2 ann 1")
	phpAsk(bob, "who", "1 bob 1") // its new code waits for a reload of its own

	a.MustRun("stop")
	ann.WantClose(1001)
	if r := a.Run("status"); r.Code != 1 || !strings.Contains(r.Stderr, "no master answers") {
		t.Errorf("status of a stopped program exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	phpAsk(bob, "who", "1 bob 1")
	if now := b.Status(); now.Master.PID != first.Master.PID || now.Workers[0].PID != first.Workers[0].PID || now.Workers[0].Connections != 1 {
		t.Errorf("b was %+v, is %+v", first, now)
	}
	b.MustRun("reload")
	phpAsk(bob, "who", "2 bob 1")
	b.MustRun("stop")
}
