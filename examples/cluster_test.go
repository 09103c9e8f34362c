package examples

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestCluster runs the three nodes with one command, as a reader does: members on
// each see those of all, and the death of a node is told once. What is then told
// to end leaves nothing behind.
func TestCluster(t *testing.T) {
	binary := pushdtest.BuildAs(t, "examples/cluster", "cluster")
	var ports []string
	for range 3 {
		ports = append(ports, fmt.Sprintf("%d/%d", pushdtest.FreePort(t), pushdtest.FreePort(t)))
	}
	c := exec.Command(binary, "up")
	c.Env = append(os.Environ(), "CLUSTER_PORTS="+strings.Join(ports, ","), "TMPDIR="+t.TempDir(), "PUSHD_DRAIN=0s")
	out, err := c.StdoutPipe()
	must(t, err)
	c.Stderr = os.Stderr
	must(t, c.Start())
	t.Cleanup(func() { c.Process.Kill() })
	masters := make(chan int, 3)
	go func() {
		said := regexp.MustCompile(`\(process (\d+)\)`)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if m := said.FindStringSubmatch(lines.Text()); m != nil {
				pid, _ := strconv.Atoi(m[1])
				masters <- pid
			}
		}
	}()
	var tabs []*tab
	for i, p := range ports {
		port, _, _ := strings.Cut(p, "/")
		g := openTab(t, "127.0.0.1:"+port, fmt.Sprint("user", i+1))
		tabs = append(tabs, g)
		for _, g := range tabs {
			g.sees(i + 1)
		}
	}
	if got := tabs[0].members; got["user3"] != "n3" || got["user1"] != "n1" {
		t.Errorf("the first sees %v", got)
	}

	// The third node dies with all its processes.
	var pid int
	for range 3 {
		pid = <-masters
	}
	for _, child := range append(children(t, pid), pid) {
		must(t, syscall.Kill(child, syscall.SIGKILL))
	}
	for _, g := range tabs[:2] {
		g.sees(2)
		if g.left != 1 {
			t.Errorf("%s was told %d times that somebody left", g.user, g.left)
		}
	}
	must(t, c.Process.Signal(syscall.SIGTERM))
	must(t, c.Wait())
}

// children are the processes whose parent is pid.
func children(t *testing.T, pid int) (all []int) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, f := range strings.Fields(string(raw)) {
		if n, err := strconv.Atoi(f); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// tab is a browser's tab with the page.
type tab struct {
	t       *testing.T
	user    string
	client  *pushdtest.Client
	members map[string]string // user → node
	left    int
}

func openTab(t *testing.T, addr, user string) *tab {
	t.Helper()
	g := &tab{t: t, user: user, members: map[string]string{}}
	pushdtest.Eventually(t, "the node at "+addr+" serves its page", func() bool {
		res, err := http.Get("http://" + addr + "/")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		page, err := io.ReadAll(res.Body)
		return err == nil && strings.Contains(string(page), "Who is where")
	})
	g.client = pushdtest.Dial(t, addr, "/app/demo-key?protocol=7")
	var hello struct {
		SocketID string `json:"socket_id"`
	}
	g.next(&hello)
	res, err := http.PostForm("http://"+addr+"/auth?user="+user, url.Values{"socket_id": {hello.SocketID}, "channel_name": {"presence-everywhere"}})
	must(t, err)
	defer res.Body.Close()
	var signed map[string]string
	must(t, json.NewDecoder(res.Body).Decode(&signed))
	signed["channel"] = "presence-everywhere"
	raw, err := json.Marshal(map[string]any{"event": "pusher:subscribe", "data": signed})
	must(t, err)
	g.client.SendText(string(raw))
	return g
}

// next reads an event and its data.
func (g *tab) next(data any) (event string) {
	g.t.Helper()
	_, raw := g.client.Read()
	var e struct{ Event, Data string }
	must(g.t, json.Unmarshal(raw, &e))
	must(g.t, json.Unmarshal([]byte(e.Data), data))
	return e.Event
}

// sees reads until there are n members.
func (g *tab) sees(n int) {
	g.t.Helper()
	for len(g.members) != n {
		var d struct {
			Presence struct {
				Hash map[string]struct{ Node string }
			}
			User string                `json:"user_id"`
			Info struct{ Node string } `json:"user_info"`
		}
		switch event := g.next(&d); event {
		case "pusher_internal:subscription_succeeded":
			for user, info := range d.Presence.Hash {
				g.members[user] = info.Node
			}
		case "pusher_internal:member_added":
			g.members[d.User] = d.Info.Node
		case "pusher_internal:member_removed":
			delete(g.members, d.User)
			g.left++
		default:
			g.t.Fatalf("%s hears %s", g.user, event)
		}
	}
	if slices.Contains([]string{""}, g.members[g.user]) {
		g.t.Fatalf("%s is not among %v", g.user, g.members)
	}
}
