package examples

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPython runs the handler in Python by its own config, and kills it: who
// has said what is in the sessions.
func TestPython(t *testing.T) {
	dir := filepath.Join(pushdtest.Root(t), "examples/python")
	text, err := os.ReadFile(filepath.Join(dir, "pushd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("127.0.0.1:2346", "127.0.0.1:{{port}}").Replace(string(text)) +
		"allow_root = true\ndir = " + strconv.Quote(dir) + "\n"
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	a, b := s.Dial("/"), s.Dial("/")
	a.SendText("I am Ann")
	a.WantText("1 said")
	b.WantText("Ann: I am Ann")
	programs(t, s, 1) // are done with that
	for _, p := range s.Processes() {
		if strings.Contains(p.Args, "chat.py") {
			s.Kill(p.PID)
		}
	}
	programs(t, s, 2)
	a.SendText("I am back")
	a.WantText("2 said")
	b.WantText("back: I am back")
}

// programs waits until each worker has its nth program, which has nothing to do.
func programs(t *testing.T, s *pushdtest.Server, n int) {
	t.Helper()
	pushdtest.Eventually(t, "the programs are ready", func() bool {
		var st struct {
			Workers []struct {
				Scripts []struct {
					State           string
					Births, Waiting int
				}
			}
		}
		if err := json.Unmarshal([]byte(s.MustRun("status", "--json")), &st); err != nil {
			t.Fatal(err)
		}
		for _, w := range st.Workers {
			if len(w.Scripts) != 1 || w.Scripts[0].State != "ready" || w.Scripts[0].Births != n || w.Scripts[0].Waiting != 0 {
				return false
			}
		}
		return true
	})
}
