package cmd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestDoctorOfAnothersServer: root asks about the server of a unit, which is another
// user's, and is told what that user would meet, whether it runs or not.
func TestDoctorOfAnothersServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("runs as other users: needs root")
	}
	const other = 65530
	dir, err := os.MkdirTemp("/run", "pushd-test-") // where nobody but root makes folders
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	run, data, config := dir+"/run", dir+"/data", dir+"/pushd.toml"
	text := fmt.Sprintf("[api]\nlisten = %q\n[[worker]]\nlisten = \"websocket://%s\"\ncount = 1\nroutes = { \"/\" = \"echo\" }\n", pushdtest.FreeAddr(t), pushdtest.FreeAddr(t))
	program, err := os.ReadFile(pushdtest.Build(t, "cmd/pushd"))
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(config, []byte(text), 0o644), os.WriteFile(dir+"/pushd", program, 0o755),
		os.Mkdir(run, 0o755), os.Mkdir(data, 0o700), os.Chown(run, other, other), os.Chown(data, other, other)); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) *exec.Cmd {
		c := exec.Command(dir+"/pushd", append(args, "-c", config)...)
		c.Dir, c.Env = t.TempDir(), // which the other user cannot enter
			[]string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "RUNTIME_DIRECTORY=" + run, "STATE_DIRECTORY=" + data}
		return c
	}
	says := func(when string, healthy bool, want string) {
		t.Helper()
		out, err := command("doctor").CombinedOutput()
		if (err == nil) != healthy || !strings.Contains(string(out), want) || !strings.Contains(string(out), fmt.Sprintf("(%d)", other)) {
			t.Errorf("%s: %v, want %q\n%s", when, err, want, out)
		}
	}
	says("before the first start", true, run)
	var log bytes.Buffer
	server := command("start")
	server.Dir = "/"
	server.Stdout, server.Stderr = &log, &log
	server.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}, Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		server.Wait()
		close(over)
	}()
	stop := func() {
		server.Process.Signal(syscall.SIGTERM)
		<-over
	}
	t.Cleanup(stop)
	pushdtest.Eventually(t, "it runs", func() bool { return command("status").Run() == nil })
	says("while it runs", true, "pushd runs as pid")
	if err := os.Chown(run, 0, 0); err != nil {
		t.Fatal(err)
	}
	says("with a folder that root has taken", false, fmt.Sprintf("chown %d %s", other, run))
	if err := os.Chown(run, other, other); err != nil {
		t.Fatal(err)
	}
	stop()
	says("stopped", true, run)
	if err := os.RemoveAll(run); err != nil {
		t.Fatal(err)
	}
	says("stopped by a unit, which takes the folder away", true, run+" will be made by the unit")
	if left, _ := filepath.Glob(run); left != nil {
		t.Error("doctor has made", left)
	}
	if t.Failed() {
		t.Logf("%s", &log)
	}
}
