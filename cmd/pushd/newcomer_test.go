package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestSecondServerIsToldTheWayOut: two on one machine meet at a port; the error
// names who has it and how this one gets another.
func TestSecondServerIsToldTheWayOut(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig})
	second := func(env ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
		defer cancel()
		c := s.Command(ctx, "start", "-d", "--runtime-dir", filepath.Join(t.TempDir(), "run"))
		c.Env = append(c.Env, env...)
		out, err := c.CombinedOutput()
		if err == nil {
			t.Fatalf("%q started: %s", env, out)
		}
		return string(out)
	}
	free := fmt.Sprintf("PUSHD_LISTEN=127.0.0.1:%d", pushdtest.FreePort(t))
	data := "PUSHD_DATA_DIR=" + filepath.Join(t.TempDir(), "data")
	for _, x := range []struct{ env, want []string }{
		{[]string{free, data, "PUSHD_API_LISTEN=" + s.API}, []string{"in use by pid", "PUSHD_API_LISTEN="}},
		{[]string{data, "PUSHD_API_LISTEN=" + fmt.Sprintf("127.0.0.1:%d", pushdtest.FreePort(t))}, []string{"in use by pid", "PUSHD_LISTEN="}},
		{[]string{free, "PUSHD_API_LISTEN=" + fmt.Sprintf("127.0.0.1:%d", pushdtest.FreePort(t))}, []string{"in use by", "PUSHD_DATA_DIR"}},
		{[]string{free, "PUSHD_API_KEY=", "PUSHD_DATA_DIR=/proc/nowhere", fmt.Sprintf("PUSHD_API_LISTEN=127.0.0.1:%d", pushdtest.FreePort(t))}, []string{"needed for the key of the HTTP API", "PUSHD_DATA_DIR"}},
	} {
		said := second(x.env...)
		for _, want := range x.want {
			if !strings.Contains(said, want) {
				t.Errorf("with %q no %q in: %s", x.env, want, said)
			}
		}
	}
}

// TestDaemonRefuses by the pipe to the command that has started it, and writes nothing: whoever
// has come first, what is wrong was not so when the command looked.
func TestDaemonRefuses(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig})
	for _, x := range []struct{ arg, want string }{
		{"--json=false", fmt.Sprintf("failed \"already running as pid %d in ", s.Status().Master.PID)},
		{"--runtime-dir=/proc/nowhere", `failed "start failed: `},
		{"--nonsense", `failed "`},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := s.Command(t.Context(), "start", x.arg)
		c.Env = append(c.Env, "PUSHD_READY_FD=3")
		c.ExtraFiles = []*os.File{w}
		out, err := c.CombinedOutput()
		w.Close()
		said, _ := io.ReadAll(r)
		r.Close()
		if err == nil || len(out) > 0 || !strings.HasPrefix(string(said), x.want) {
			t.Errorf("%s: %v, it says %q and writes %q", x.arg, err, said, out)
		}
	}
}

// TestStartNotes: what is probably not meant is said at the start, once: a variable in place
// of what the file says, one that nobody reads, and a port that the system has chosen.
func TestStartNotes(t *testing.T) {
	t.Parallel()
	const misspelt = "PUSHD" + "_DRIAN" // no name that a file of the repository has
	s := pushdtest.Start(t, pushdtest.Options{Manual: true, Env: []string{"PUSHD_DRAIN=0s", misspelt + "=1s"},
		Config: "drain = \"9s\"\n[[worker]]\nlisten = [\"websocket://127.0.0.1:{{port}}\", \"text://127.0.0.1:0\"]\nhandler = \"echo\"\n"})
	r := s.Run("start", "-d")
	if r.Code != 0 {
		t.Fatalf("exit %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	var chosen string
	for _, word := range strings.Fields(r.Stdout) {
		if strings.HasPrefix(word, "text://127.0.0.1:") {
			chosen = word
		}
	}
	said := strings.Split(strings.TrimSpace(r.Stderr), "\n")
	for i, want := range []string{"warning: " + misspelt + ": ", "note: " + s.Config + ":1: drain: PUSHD_DRAIN of the environment counts in its place",
		"warning: the port of " + chosen + " is a random one, and another at each start, since port 0 was asked for"} {
		if len(said) != 3 || said[i] != want && (i > 0 || !strings.HasPrefix(said[i], want)) {
			t.Errorf("%q is said, want %q as the %d. line; it runs at %q", said, want, i+1, chosen)
		}
	}
}

// TestStatusHasColours on a terminal, unless it is told not to.
func TestStatusHasColours(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig, Env: []string{"TERM=xterm", "NO_COLOR="}})
	term := newTerminal(t)
	show := func(env string) {
		ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
		defer cancel()
		c := s.Command(ctx, "status")
		c.Stdout, c.Stderr, c.Env = term.tty, term.tty, append(c.Env, env)
		must(t, c.Run())
	}
	show("NO_COLOR=1")
	pushdtest.Eventually(t, "the status is there", func() bool { return strings.Contains(term.said(), "all ") })
	if said := term.said(); strings.Contains(said, "\x1b") {
		t.Errorf("with NO_COLOR: %q", said)
	}
	show("NO_COLOR=")
	pushdtest.Eventually(t, "ready is green", func() bool { return strings.Contains(term.said(), "\x1b[32mready\x1b[0m") })
	if out := s.MustRun("status"); strings.Contains(out, "\x1b") {
		t.Errorf("where there is no terminal: %q", out)
	}
}

// TestDatagramsThatTheKernelDrops are counted, by the one process that can.
func TestDatagramsThatTheKernelDrops(t *testing.T) {
	t.Parallel()
	metrics := fmt.Sprintf("127.0.0.1:%d", pushdtest.FreePort(t))
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(reloadConfig, "[[worker]]", `watchdog = 0
[metrics]
listen = "`+metrics+`"
[[ingest]]
listen = "udp://127.0.0.1:{{port}}"
[[worker]]`, 1)})
	dropped := func() (n uint64) {
		var st struct {
			Dropped map[string]uint64 `json:"datagrams_dropped"`
		}
		must(t, json.Unmarshal([]byte(s.MustRun("status", "--json")), &st))
		return st.Dropped[fmt.Sprintf("udp://127.0.0.1:%d", s.Port)]
	}
	if n := dropped(); n != 0 {
		t.Fatalf("%d datagrams", n)
	}
	broker := s.Status().Broker.PID
	must(t, unix.Kill(broker, unix.SIGSTOP)) // nobody reads
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	must(t, err)
	defer c.Close()
	object := []byte(`{"channel":"news","data":"` + strings.Repeat("x", 4000) + `"}`)
	for dropped() == 0 {
		for range 200 {
			_, err := c.Write(object)
			must(t, err)
		}
	}
	must(t, unix.Kill(broker, unix.SIGCONT))
	n := dropped()
	s.MustRun("reload") // the socket, and its count, go on
	want := fmt.Sprintf("pushd_datagrams_dropped_total{listener=\"udp://127.0.0.1:%d\"} %d", s.Port, n)
	pushdtest.Eventually(t, "the metric is there", func() bool {
		r, err := http.Get("http://" + metrics + "/metrics")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		return err == nil && strings.Contains(string(text), want)
	})
	if out := s.MustRun("status"); !strings.Contains(out, fmt.Sprintf("%d datagrams were dropped by the kernel", n)) {
		t.Errorf("status: %s", out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
