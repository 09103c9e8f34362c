package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

func deployFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(pushdtest.Root(t), "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestUnit: systemd finds no fault in the unit, and it names what we have.
func TestUnit(t *testing.T) {
	dir := t.TempDir()
	program := pushdtest.BuildAs(t, "cmd/pushd", "pushd")
	unit := strings.ReplaceAll(deployFile(t, "pushd.service"), "/usr/local/bin/pushd", program)
	write(t, dir+"/pushd.service", unit)
	c := exec.Command("systemd-analyze", "verify", "--man=no", dir+"/pushd.service")
	if out, err := c.CombinedOutput(); err != nil || strings.Contains(string(out), "pushd.service") {
		t.Fatalf("%v\n%s", err, out)
	}
	commands := regexp.MustCompile(`(?m)^Exec\w+=\S+ (\w+)`).FindAllStringSubmatch(unit, -1)
	if len(commands) != 2 {
		t.Fatalf("commands %q, want start and reload", commands)
	}
	for _, m := range commands {
		if out, err := exec.Command(program, m[1], "--help").CombinedOutput(); err != nil {
			t.Errorf("%s --help: %v\n%s", m[1], err, out)
		}
	}
}

// TestLogrotate rotates the log of a running server by the file in deploy/.
func TestLogrotate(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: "log_file = \"{{dir}}/pushd.log\"\n[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nroutes = { \"/echo\" = \"echo\" }\n"})
	c := s.Dial("/echo")
	log := s.Dir + "/pushd.log"
	rules := strings.NewReplacer(
		"/var/log/pushd/pushd.log", log, "/usr/local/bin/pushctl", s.Binary, "/etc/pushd/pushd.toml", s.Config,
		"    create 0640 pushd pushd\n", "    create 0640\n", "    compress\n", "", "    delaycompress\n", "",
	).Replace(deployFile(t, "logrotate"))
	rotate := filepath.Join(s.Dir, "logrotate.conf")
	write(t, rotate, rules)
	var before os.FileInfo
	pushdtest.Eventually(t, "a line in the log, without which nothing is rotated", func() (ok bool) {
		var err error
		before, err = os.Stat(log)
		return err == nil && before.Size() > 0
	})
	logrotate, err := exec.LookPath("logrotate")
	if err != nil {
		logrotate = "/usr/sbin/logrotate"
	}
	run := exec.Command(logrotate, "--force", "--state", s.Dir+"/state", rotate)
	run.Env = append(os.Environ(), "PUSHD_RUNTIME_DIR="+s.Dir+"/run")
	if out, err := run.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("logrotate: %v\n%s", err, out)
	}
	after, err := os.Stat(log)
	if err != nil || os.SameFile(before, after) {
		t.Fatalf("the log was not rotated: %v", err)
	}
	c.SendText("still here")
	c.WantText("still here")
	s.MustRun("reload") // says a line
	pushdtest.Eventually(t, "new lines are in the new file", func() bool {
		info, err := os.Stat(log)
		return err == nil && info.Size() > 0
	})
}
