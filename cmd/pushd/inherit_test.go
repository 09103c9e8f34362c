package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestDescriptorsOfTheShellStayThere: what a script has open when it starts the
// server is open in none of the server's processes, and a lock on it is free
// when the script ends.
func TestDescriptorsOfTheShellStayThere(t *testing.T) {
	for _, way := range []string{"daemon", "foreground"} {
		t.Run(way, func(t *testing.T) {
			s := pushdtest.Start(t, pushdtest.Options{Config: asInherited, Manual: true})
			secret := filepath.Join(s.Dir, "secret")
			f, err := os.Create(secret)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			give := func(c *exec.Cmd) { c.ExtraFiles = []*os.File{f, f, f, f, f, f, f} } // 3 to 9
			if way == "daemon" {
				c := s.Command(t.Context(), "start", "-d")
				give(c)
				if out, err := c.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			} else {
				s.Foreground(give)
			}
			nobodyHas(t, s, secret)
			f.Close()
			again, err := os.Open(secret)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if err := syscall.Flock(int(again.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
				t.Errorf("the script's lock is still held: %v", err)
			}
			s.MustRun("reload")
			nobodyHas(t, s, secret)
		})
	}
}

const asInherited = `
drain = "100ms"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 1
routes = { "/echo" = "echo" }
`

// nobodyHas wants a file closed in all processes of the server.
func nobodyHas(t *testing.T, s *pushdtest.Server, file string) {
	t.Helper()
	all := s.Processes()
	if len(all) < 3 {
		t.Errorf("processes: %v", all)
	}
	for _, p := range all {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
		for _, link := range links {
			if target, _ := os.Readlink(link); strings.HasPrefix(target, file) {
				t.Errorf("%s has it open as %s", p, filepath.Base(link))
			}
		}
	}
}
