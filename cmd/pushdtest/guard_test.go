package pushdtest

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// victimEnv makes TestVictim what TestNothingOutlivesTheTests needs.
const victimEnv = "PUSHDTEST_VICTIM"

// TestVictim is no test by itself: it leaves a daemon behind and dies.
func TestVictim(t *testing.T) {
	if os.Getenv(victimEnv) == "" {
		return
	}
	c := exec.Command("sleep", "600")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = os.Stdout.WriteString("daemon " + strconv.Itoa(c.Process.Pid) + "\n")
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func TestNothingOutlivesTheTests(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestVictim$")
	c.Env = append(os.Environ(), victimEnv+"=1")
	out, err := c.Output()
	if err == nil {
		t.Fatalf("the victim lives: %s", out)
	}
	_, rest, _ := strings.Cut(string(out), "daemon ")
	pid, err := strconv.Atoi(strings.TrimSpace(rest))
	if err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	Eventually(t, "the daemon is gone", func() bool { return isZombie(pid) })
}
