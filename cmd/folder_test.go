package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// toAll are the commands that go to a master, or are about to be one.
var toAll = [][]string{{"start", "-d"}, {"stop"}, {"restart", "-d"}, {"reload"}, {"status"}, {"connections"}}

// snare fills a folder as a stranger would: a lock that leads to a file of the
// victim, a list of processes with one of the victim's, and a false master. It
// returns what says whether the victim has come to harm.
func snare(t *testing.T, dir string) (unharmed func()) {
	t.Helper()
	notes := filepath.Join(t.TempDir(), "notes")
	write(t, notes, "precious")
	victim := exec.Command("sleep", "600")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { victim.Process.Kill(); victim.Wait() })
	if err := os.Symlink(notes, filepath.Join(dir, "pushd.lock")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "state.json"), fmt.Sprintf(
		`{"children":[{"pid":%d,"start":%d,"role":"worker","name":"x","slot":0}]}`, victim.Process.Pid, startOf(t, victim.Process.Pid)))
	return func() {
		t.Helper()
		if text, err := os.ReadFile(notes); err != nil || string(text) != "precious" {
			t.Errorf("the victim's file holds %q, %v", text, err)
		}
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(victim.Process.Pid, &status, syscall.WNOHANG, nil); pid != 0 || err != nil {
			t.Errorf("the victim's process has ended: %v, %v", status, err)
		}
	}
}

func startOf(t *testing.T, pid int) (ticks uint64) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	fmt.Sscan(fields[19], &ticks)
	return ticks
}

// TestFoldersOfStrangers: none of the commands touches a folder that somebody
// else has put in the place of the runtime folder, or may write to.
func TestFoldersOfStrangers(t *testing.T) {
	cases := map[string]func(dir string) error{
		"everybody may write to": func(dir string) error { return os.Chmod(dir, 0o777) },
	}
	if os.Geteuid() == 0 {
		cases["belongs to user 64002"] = func(dir string) error { return os.Chown(dir, 64002, 64002) }
		cases["a link that belongs to user 64002"] = func(dir string) error {
			if err := os.Rename(dir, dir+".own"); err != nil {
				return err
			}
			if err := os.Symlink(dir+".own", dir); err != nil {
				return err
			}
			return os.Lchown(dir, 64002, 64002)
		}
	}
	for name, take := range cases {
		t.Run(name, func(t *testing.T) {
			dir := sandbox(t)
			write(t, "pushd.toml", okConfig)
			run := filepath.Join(dir, "run")
			if err := os.Mkdir(run, 0o755); err != nil {
				t.Fatal(err)
			}
			unharmed := snare(t, run)
			if err := take(run); err != nil {
				t.Fatal(err)
			}
			refusedBy(t, run)
			unharmed()
		})
	}
}

func refusedBy(t *testing.T, dir string) {
	t.Helper()
	for _, args := range toAll {
		code, out, errOut := run(t, args...)
		if code != exitFailed || !strings.Contains(errOut, dir) ||
			!strings.Contains(errOut, "belongs to user 64002") && !strings.Contains(errOut, "written to by everybody") {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errOut)
		}
	}
}

// TestSnaresInOwnFolder: even in a folder of one's own no link is followed.
func TestSnaresInOwnFolder(t *testing.T) {
	dir := sandbox(t)
	write(t, "pushd.toml", okConfig)
	if err := os.Mkdir("run", 0o755); err != nil {
		t.Fatal(err)
	}
	notes := filepath.Join(dir, "notes")
	write(t, notes, "precious")
	if err := os.Symlink(notes, "run/pushd.lock"); err != nil {
		t.Fatal(err)
	}
	write(t, "run/state.json", `{}`)
	if code, _, errOut := run(t, "start"); code != exitFailed || !strings.Contains(errOut, "pushd.lock") {
		t.Errorf("start: exit %d, %q", code, errOut)
	}
	if text, _ := os.ReadFile(notes); string(text) != "precious" {
		t.Errorf("the lock's link was followed: %q", text)
	}
}

// falseMaster answers one request on the control socket of dir.
func falseMaster(t *testing.T, dir, answer string) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer ln.Close()
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Read(make([]byte, 4096))
		c.Write([]byte(answer + "\n"))
	}()
	t.Cleanup(func() { ln.Close() })
}

// TestWordsOfAMasterAreShown, not obeyed by the terminal.
func TestWordsOfAMasterAreShown(t *testing.T) {
	const evil = "\x1b[31mRED\x1b]0;title\x07\u009b2J\x7f"
	quoted, _ := json.Marshal(evil)
	name := string(quoted)
	worker := `{"name":` + name + `,"slot":0,"pid":1,"state":` + name + `,"generation":1,"started":"2020-01-01T00:00:00Z","listen":[` + name + `],"restarts":0}`
	status := `{"version":` + name + `,"master":{"pid":1,"started":"2020-01-01T00:00:00Z"},"workers":[` + worker + `],"broker":{"pid":1,"state":` + name + `},"reloads":{}}`
	conn := `{"worker":` + name + `,"protocol":` + name + `,"ip":` + name + `,"uid":` + name + `,"path":` + name + `,"id":` + name + `,"channels":[` + name + `]}`
	report := `{"ok":true,"slots":[{"worker":` + name + `,"slot":0}],"master":{"old_version":` + name + `,"new_version":` + name + `}}`
	for _, c := range []struct{ data, command string }{
		{`"data":` + status, "status"}, {`"data":{"connections":[` + conn + `],"complete":true}`, "connections"},
		{`"data":` + report, "reload"}, {`"error":` + name, "status"}, {`"error":` + name, "stop"},
		{`"failure":{"ok":false,"error":` + name + `,"worker":` + name + `,"step":` + name + `}`, "reload"},
	} {
		for _, args := range [][]string{{c.command}, {c.command, "--json"}} {
			dir := sandbox(t)
			write(t, "pushd.toml", okConfig)
			if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
				t.Fatal(err)
			}
			falseMaster(t, filepath.Join(dir, "run"), `{"done":true,`+c.data+`}`)
			_, out, errOut := run(t, args...)
			if strings.IndexFunc(out+errOut, func(r rune) bool { return steers(r) && r != '\n' }) >= 0 {
				t.Errorf("%v of %s lets through %q %q", args, c.data, out, errOut)
			}
			if !strings.Contains(out+errOut, "RED") {
				t.Errorf("%v of %s shows nothing: %q %q", args, c.data, out, errOut)
			}
		}
	}
}

// TestFewDescriptors are warned of before anything is started.
func TestFewDescriptors(t *testing.T) {
	dir := sandbox(t)
	write(t, "pushd.toml", okConfig)
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]bool{90: true, 200: false} {
		c := exec.Command("sh", "-c", fmt.Sprintf("ulimit -n %d; exec %q -test.run TestFewDescriptorsInside -test.v", limit, os.Args[0]))
		c.Env = append(os.Environ(), insideTest+"=", "PUSHD_FEW=1")
		out, err := c.CombinedOutput()
		if err != nil || strings.Contains(string(out), "warning: a process may have 90 files open") != want {
			t.Errorf("ulimit -n %d: %v\n%s", limit, err, out)
		}
	}
}

// TestFewDescriptorsInside is what TestFewDescriptors runs under a limit.
func TestFewDescriptorsInside(t *testing.T) {
	if os.Getenv("PUSHD_FEW") == "" {
		return // it is part of the other
	}
	(&call{err: os.Stdout}).warnOfDescriptors()
}
