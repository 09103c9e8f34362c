package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestWhoMayConnect: mode and group of unix sockets are those of the config, after
// a start, a reload, and a restart.
func TestWhoMayConnect(t *testing.T) {
	group, mine := "12345", 12345
	if os.Geteuid() != 0 {
		group, mine = fmt.Sprint(os.Getegid()), os.Getegid()
	}
	config := `
drain = "10ms"
[[worker]]
listen = ["websocket://127.0.0.1:{{port}}", "websocket://{{dir}}/w.sock"]
count = 1
socket_mode = "0666"
socket_group = "` + group + `"
[[ingest]]
listen = "unix://{{dir}}/i.sock"
socket_mode = "0600"
`
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	want := func(when, name string, mode os.FileMode, gid int) {
		t.Helper()
		info, err := os.Stat(filepath.Join(s.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("%s, %s: mode %o, want %o", when, name, got, mode)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Gid); gid >= 0 && got != gid {
			t.Errorf("%s, %s: group %d, want %d", when, name, got, gid)
		}
	}
	want("start", "w.sock", 0o666, mine)
	want("start", "i.sock", 0o600, -1)
	s.WriteConfig(strings.Replace(config, "0666", "0606", 1))
	s.MustRun("reload")
	want("reload", "w.sock", 0o606, mine)
	want("reload", "i.sock", 0o600, -1)
	s.MustRun("restart", "-d")
	want("restart", "w.sock", 0o606, mine)
	want("restart", "i.sock", 0o600, -1)
}
