package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// manager is the socket of a service manager.
type manager struct {
	path string
	mu   sync.Mutex
	said []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "pushd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &manager{path: filepath.Join(dir, "notify")}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.said = append(m.said, string(buf[:n]))
			m.mu.Unlock()
		}
	}()
	return m
}

// states are what was said but for signs of life, of which alive is the number.
func (m *manager) states() (states string, alive int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for _, s := range m.said {
		if s == "WATCHDOG=1" {
			alive++
			continue
		}
		word, _, _ := strings.Cut(s, "\n")
		if word == "RELOADING=1" && !strings.Contains(s, "\nMONOTONIC_USEC=") {
			word = fmt.Sprintf("%q", s)
		}
		list = append(list, word)
	}
	return strings.Join(list, " "), alive
}

// TestServiceManager is told when pushd is ready, reloads, whatever comes of
// it, and stops, and hears from it as often as it wants to; before and after
// the master runs a new program.
func TestServiceManager(t *testing.T) {
	m := newManager(t)
	u := &upgradable{pushdtest.Start(t, pushdtest.Options{
		Config: `drain = "100ms"` + "\n" + reloadConfig, Manual: true,
		Env: []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=200000"},
	}), t}
	u.Binary = filepath.Join(u.Dir, "pushd")
	u.install(build(t, "one"))
	_, ended := u.Foreground(nil)
	states := ""
	expect := func(more string) {
		t.Helper()
		states = strings.TrimSpace(states + " " + more)
		pushdtest.Eventually(t, "the manager is told: "+states, func() bool { now, _ := m.states(); return now == states })
		_, before := m.states()
		pushdtest.Eventually(t, "signs of life", func() bool { _, now := m.states(); return now > before+1 })
	}
	expect("READY=1")
	u.MustRun("reload")
	expect("RELOADING=1 READY=1")
	good, err := os.ReadFile(u.Config)
	if err != nil {
		t.Fatal(err)
	}
	u.WriteConfig("drain = 1")
	if r := u.Run("reload"); r.Code != 1 {
		t.Errorf("reload of a broken config: %d", r.Code)
	}
	expect("RELOADING=1 READY=1")
	if err := os.WriteFile(u.Config, good, 0o600); err != nil {
		t.Fatal(err)
	}
	u.upgrade("two")
	expect("RELOADING=1 READY=1")
	for _, p := range u.Processes() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
		if err == nil && strings.Contains(p.Args, "worker") && (strings.Contains(string(env), "NOTIFY_SOCKET=") || strings.Contains(string(env), "WATCHDOG_")) {
			t.Errorf("%v could speak for the master", p)
		}
	}
	u.Stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	states += " STOPPING=1"
	pushdtest.Eventually(t, "the manager is told: "+states, func() bool { now, _ := m.states(); return now == states })
}
