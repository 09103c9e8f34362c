package kubernetes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// repository is where deploy and cmd are.
const repository = "../../.."

// programEnv names the built program, in a process that has a network and mounts
// of its own: the manifest's ports are free there.
const programEnv = "PUSHD_DEPLOY_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		os.Exit(m.Run())
	}
	code, err := apart()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// apart builds the program and runs this test program again, in namespaces.
func apart() (code int, err error) {
	dir, err := os.MkdirTemp("", "pushd-deploy-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "pushd")
	build := exec.Command("go", "build", "-o", program, "./cmd/pushd")
	build.Dir, build.Env = repository, append(os.Environ(), "CGO_ENABLED=0") // nothing else is in the image
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build pushd: %w\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	spaces := "-nm"
	if os.Geteuid() != 0 {
		spaces = "-Urnm"
	}
	up := `ip link set lo up 2>/dev/null || /sbin/ip link set lo up; exec "$0" "$@"`
	c := exec.Command("unshare", append([]string{spaces, "sh", "-c", up, self}, os.Args[1:]...)...)
	c.Env = append(os.Environ(), programEnv+"="+program)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = c.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("run the tests in a network of their own: %w", err)
	}
	return 0, nil
}
