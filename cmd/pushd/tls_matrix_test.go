package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// behindTLS makes the listener of a config one behind TLS.
func behindTLS(config string) string {
	return strings.Replace(config, `"websocket://127.0.0.1:{{port}}"`, `"wss://127.0.0.1:{{port}}"`+"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }", 1)
}

var secureKillConfig = behindTLS(killConfig)

// faultySecure is faulty behind TLS, with a record of all nonces.
func faultySecure(t *testing.T, env ...string) *pushdtest.Server {
	t.Helper()
	config := patient + secureKillConfig
	s := pushdtest.Start(t, pushdtest.Options{Config: config, Flags: []string{"-tags", "faults"}, Manual: true,
		Env: append(env, "PUSHD_TEST_FAULT=fault", "PUSHD_TEST_NONCES=nonces")})
	s.Secure = true
	testkit.NewCA(t).Write(filepath.Join(s.Dir, "cert.pem"), filepath.Join(s.Dir, "key.pem"), month, "push.example.com")
	s.MustRun("start", "-d")
	return s
}

// sealedOnce fails the test if any two records were sealed with one key and one
// nonce, in whatever processes.
func sealedOnce(t *testing.T, s *pushdtest.Server) {
	t.Helper()
	all, err := os.ReadFile(filepath.Join(s.Dir, "nonces"))
	if err != nil || len(all) < 30*16 || len(all)%16 != 0 {
		t.Fatalf("%d bytes of nonces, %v", len(all), err)
	}
	seen := map[[16]byte]bool{}
	for ; len(all) > 0; all = all[16:] {
		if u := [16]byte(all); seen[u] {
			t.Fatal("a nonce was used twice with one key")
		} else {
			seen[u] = true
		}
	}
	t.Logf("%d records were sealed", len(seen))
}

// full says whether the long matrices run.
func full() bool { return os.Getenv("PUSHD_TEST_FULL") == "1" }

// TestKillUnderTLS kills the new worker at steps of a reload with clients under TLS:
// as in the clear, and no nonce is used twice. All steps are in make test-full.
func TestKillUnderTLS(t *testing.T) {
	t.Parallel()
	s := faultySecure(t)
	few := mass{echo: 205, members: 5, slow: 1}
	load := keepUp(t, s, few)
	rows := newWorkersPoints()
	if !full() {
		rows = []killPoint{{"import batch", 2}, {"import commit", 2}, {"import admit", 1}}
	}
	lost := 0
	for _, at := range rows {
		t.Run(at.String(), func(t *testing.T) { lost += failNewWorker(t, s, load, at, unix.SIGKILL) })
		load.refill(few)
	}
	load.judge(lost, len(rows))
	sealedOnce(t, s)
}

// TestKillOldWorkerUnderTLS is TestKillOldWorker with clients under TLS.
func TestKillOldWorkerUnderTLS(t *testing.T) {
	t.Parallel()
	s := faultySecure(t)
	rows := oldWorkersPoints()
	if !full() {
		rows = []killPoint{{"export close", 2}}
	}
	killOldWorker(t, s, rows)
	sealedOnce(t, s)
}

// TestOtherDeathsUnderTLS: the broker process is killed, and the master stopped or
// killed, in the middle of a reload.
func TestOtherDeathsUnderTLS(t *testing.T) {
	if !full() {
		t.Skip("the matrix of make test-full: PUSHD_TEST_FULL=1")
	}
	t.Run("broker", func(t *testing.T) {
		s := faultySecure(t)
		killBrokerDuringReload(t, s)
		sealedOnce(t, s)
	})
	t.Run("stop", func(t *testing.T) {
		stopDuringReload(t, func(t *testing.T) *pushdtest.Server { return faultySecure(t) })
	})
}

// TestReloadChangesCountUnderTLS: clients go to fewer workers, to more, and back.
func TestReloadChangesCountUnderTLS(t *testing.T) {
	t.Parallel()
	s := faultySecure(t)
	var clients []*pushdtest.Client
	for range 60 {
		clients = append(clients, s.Dial("/echo"))
	}
	for _, count := range []int{1, 3, 1} {
		s.WriteConfig(patient + strings.Replace(secureKillConfig, "count = 2", fmt.Sprint("count = ", count), 1))
		if r := reload(t, s); !r.OK || r.Drained != 0 || r.Moved < len(clients) {
			t.Fatalf("count %d: %+v", count, r)
		}
		for i, c := range clients {
			c.SendText(fmt.Sprint(count, i))
			c.WantText(fmt.Sprint(count, i))
		}
		if st := s.Status(); len(st.Workers) != count || st.Connections() != len(clients) {
			t.Fatalf("%d workers hold %d connections, want %d and %d", len(st.Workers), st.Connections(), count, len(clients))
		}
	}
	sealedOnce(t, s)
}

// TestReloadsUnderTLS reloads again and again under the load of TestReloadUnderLoad,
// while keys change all the time on both sides. In make test-full 200 times, with as
// many clients as one process may have descriptors for.
func TestReloadsUnderTLS(t *testing.T) {
	s := faultySecure(t, "PUSHD_TEST_EARLY_UPDATES=5")
	times, flags := 3, []string{"--idle", "100", "--echoes", "100", "--echo-rate", "800", "--members", "20", "--slow", "3"}
	if full() {
		times, flags = 200, []string{"--idle", "2500", "--echoes", "2200", "--echo-rate", "1000", "--members", "100", "--slow", "10",
			"--slow-cut-ok"} // for minutes: what they have not read hides the pings from them
	}
	reports := filepath.Join(s.Dir, "reloads")
	load := exec.Command(pushdtest.Build(t, "cmd/pushbench"), append([]string{"reload", "--json",
		"--url", fmt.Sprintf("wss://127.0.0.1:%d", s.Port), "--api", "http://" + s.API, "--key", s.Key,
		"--channels", "2", "--talk-rate", "20", "--publish-rate", "20", "--churn", "5", "--connect-rate", "20",
		"--times", fmt.Sprint(times), "--every", "100ms",
		"--exec", fmt.Sprintf("%s reload -c %s --json >> %s", s.Binary, s.Config, reports)}, flags...)...)
	load.Env, load.Dir = s.Command(context.Background()).Env, s.Dir
	var errs bytes.Buffer
	load.Stderr = &errs
	out, err := load.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s\nlog:\n%s", err, errs.String(), out, s.Log())
	}
	data, err := os.ReadFile(reports)
	if err != nil {
		t.Fatal(err)
	}
	n, moved := 0, 0
	for line := range strings.Lines(string(data)) {
		var r reloaded
		if err := json.Unmarshal([]byte(line), &r); err != nil || !r.OK || r.Moved < 200 || r.Drained != 0 {
			t.Errorf("reload reported %s", line)
		}
		n, moved = n+1, moved+r.Moved
	}
	updates, err := os.ReadFile(filepath.Join(s.Dir, "nonces.updates"))
	if clients, ours := bytes.Count(updates, []byte("c")), bytes.Count(updates, []byte("s")); n != times || clients < 100 || ours < 100 {
		t.Errorf("%d reloads, not %d; %d keys of clients and %d of ours have changed: %v", n, times, clients, ours, err)
	} else {
		t.Logf("%d reloads moved %d sessions; %d keys of clients and %d of ours changed", n, moved, clients, ours)
	}
	sealedOnce(t, s)
}

// TestUpgradeUnderTLS: another program and back, twice, under load, with its master.
func TestUpgradeUnderTLS(t *testing.T) {
	if !full() {
		t.Skip("as TestUpgradeUnderLoad and TestReloadsUnderTLS, which always run: PUSHD_TEST_FULL=1")
	}
	u := &upgradable{pushdtest.Start(t, pushdtest.Options{Config: behindTLS(reloadConfig), Manual: true}), t}
	u.Secure, u.Binary = true, filepath.Join(u.Dir, "pushd")
	testkit.NewCA(t).Write(filepath.Join(u.Dir, "cert.pem"), filepath.Join(u.Dir, "key.pem"), month, "push.example.com")
	u.install(build(t, "one"))
	u.MustRun("start", "-d")
	u.swapUnderLoad("one", build(t, "one"), "two", build(t, "two"))
}
