package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// phpSaid listens on the port that is its first argument, and answers with them all.
const phpSaid = `<?php
class Said extends Ratchet\Server\EchoServer { function onMessage(Ratchet\ConnectionInterface $c, $m) { global $argv; $c->send("$m " . implode(' ', array_slice($argv, 1))); } }
$server = Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Said)), (int)$argv[1], '127.0.0.1');
$server->run();`

// TestPHPArguments runs one file twice, with other arguments: each run has folders of its
// own, and is reached by the same arguments. One that makes port 0 of a text is warned of.
func TestPHPArguments(t *testing.T) {
	env := []string{"PUSHD_RUNTIME_DIR=", "PUSHD_DATA_DIR=", "PUSHD_API_LISTEN=", "PUSHD_LISTEN=", "PUSHD_ALLOW_ROOT=1", "XDG_RUNTIME_DIR=" + t.TempDir()}
	a, file := phpServer(t, phpSaid, env...)
	b := pushdtest.Start(t, pushdtest.Options{Manual: true, Prefix: []string{"php", file}, Env: env})
	run := func(p *pushdtest.Server, verb string, flags ...string) string {
		t.Helper()
		return p.MustRun(slices.Concat([]string{verb}, flags, []string{"--", fmt.Sprint(p.Port), "x y"})...)
	}
	clean := func(out string) {
		_, after, _ := strings.Cut(out, "runtime dir ")
		dir, _, _ := strings.Cut(after, ",")
		t.Cleanup(func() { // as root they are outside the test's folders
			os.RemoveAll(dir)
			os.RemoveAll(strings.Replace(dir, "/run/", "/var/lib/", 1))
		})
	}
	var clients []*pushdtest.Client
	for _, p := range []*pushdtest.Server{a, b} {
		out := run(p, "start", "-d")
		clean(out)
		if hint := fmt.Sprintf(" php '%s %d '\\''x y'\\''' stop` stops", file, p.Port); !strings.Contains(out, hint) {
			t.Errorf("start does not hint at %s:\n%s", hint, out)
		}
		clients = append(clients, p.Dial("/"))
	}
	phpAsk(clients[0], "hi", fmt.Sprintf("hi %d x y", a.Port))
	run(a, "reload")
	phpAsk(clients[0], "hi", fmt.Sprintf("hi %d x y", a.Port))
	run(a, "restart", "-d")
	phpAsk(a.Dial("/"), "hi", fmt.Sprintf("hi %d x y", a.Port))
	phpAsk(clients[1], "hi", fmt.Sprintf("hi %d x y", b.Port))
	if r := a.Run("status"); r.Code != 1 {
		t.Errorf("status without arguments exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	run(a, "stop")
	run(b, "status")
	run(b, "stop")
	r := a.Run("-d", "nine")
	clean(r.Stdout)
	if r.Code != 0 || !strings.Contains(r.Stderr, "is a random one, and another at each start, since port 0 was asked for; (int)") {
		t.Errorf("a port 0 exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	a.MustRun("stop", "--", "nine")
}

// TestPHPArgumentsOfConfig: what stands behind the file in a config is the program's own,
// but for the words of Workerman's users.
func TestPHPArgumentsOfConfig(t *testing.T) {
	for _, line := range []string{`"php artisan websocket:serve {{port}} 'x y'"`, `["php", "artisan", "websocket:serve", "{{port}}", "x y"]`,
		`"php artisan start -d websocket:serve {{port}} 'x y'"`} {
		s := pushdtest.Start(t, pushdtest.Options{Manual: true, Config: "[[worker]]\nscript = " + line + "\nallow_root = true\n"})
		phpWrite(t, filepath.Join(s.Dir, "artisan"), strings.Replace(phpSaid, "$argv[1]", "$argv[2]", 1))
		s.MustRun("start", "-d")
		c := s.Dial("/")
		said := fmt.Sprintf("hi websocket:serve %d x y", s.Port)
		phpAsk(c, "hi", said)
		s.MustRun("reload")
		phpAsk(c, "hi", said)
	}
}
