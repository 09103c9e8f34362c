package examples

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

// program is one of the examples, running.
type program struct {
	*pushdtest.Server
	t    *testing.T
	name string
	addr string
}

// start runs an example, moved to a free port, until the end of the test.
func start(t *testing.T, name string, env ...string) *program {
	t.Helper()
	return run(t, name, pushdtest.Options{Env: env})
}

func run(t *testing.T, name string, o pushdtest.Options) *program {
	t.Helper()
	o.Package = path.Join("examples", name)
	o.Env = append([]string{"PUSHD_DRAIN=0s", "PUSHD_WATCHDOG=0s"}, o.Env...) // dialEach stops processes
	s := pushdtest.Start(t, o)
	return &program{s, t, name, local(s.Port)}
}

// dial opens a WebSocket.
func (p *program) dial(path string) client {
	p.t.Helper()
	return client{p.Dial(path), p.t}
}

// dialEach opens n connections to each process of a worker group.
func (p *program) dialEach(group, path string, n int) (bySlot [][]client) {
	p.t.Helper()
	for _, dialed := range p.DialEach(path, n, group) {
		var clients []client
		for _, c := range dialed {
			clients = append(clients, client{c, p.t})
		}
		bySlot = append(bySlot, clients)
	}
	return bySlot
}

// ids returns the connections' ids by the ports that they come from.
func (p *program) ids() map[int]string {
	p.t.Helper()
	var list struct {
		Connections []struct {
			ID   string
			Port int
		}
	}
	must(p.t, json.Unmarshal([]byte(p.MustRun("connections", "--json")), &list))
	ids := map[int]string{}
	for _, c := range list.Connections {
		ids[c.Port] = c.ID
	}
	return ids
}

// id returns the id of a connection.
func (p *program) id(c client) string {
	p.t.Helper()
	id := p.ids()[c.Conn.LocalAddr().(*net.TCPAddr).Port]
	if id == "" {
		p.t.Fatalf("no connection comes from %s", c.Conn.LocalAddr())
	}
	return id
}

// says waits until words stand in the file n times, and no more often.
func says(t *testing.T, file, words string, n int) {
	t.Helper()
	pushdtest.Eventually(t, fmt.Sprintf("%q stands in %s %d times", words, file, n), func() bool {
		raw, err := os.ReadFile(file)
		have := strings.Count(string(raw), words)
		if have > n {
			t.Fatalf("%q stands in %s %d times, not %d:\n%s", words, file, have, n, raw)
		}
		return err == nil && have == n
	})
}

// prints waits for what a daemon's stdout is: its log.
func (p *program) prints(words string, n int) {
	p.t.Helper()
	says(p.t, filepath.Join(p.Dir, "run", p.name+".log"), words, n)
}

// servesPage checks that index.html is served as it is in the folder.
func (p *program) servesPage() {
	p.t.Helper()
	want, err := os.ReadFile(filepath.Join(p.name, "index.html"))
	must(p.t, err)
	res, body := p.get("/")
	if kind := res.Header.Get("Content-Type"); res.StatusCode != 200 || kind != "text/html; charset=utf-8" || body != string(want) {
		p.t.Errorf("GET / answers %s, %s, %d bytes", res.Status, kind, len(body))
	}
	if res, _ := p.get("/favicon.ico"); res.StatusCode != 404 {
		p.t.Errorf("GET /favicon.ico answers %s", res.Status)
	}
}

func (p *program) get(path string) (*http.Response, string) {
	p.t.Helper()
	c := http.Client{Timeout: pushdtest.Timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + p.addr + path)
	must(p.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(p.t, err)
	return res, string(body)
}

// php prepares a PHP program that finds the API of p in its environment.
func (p *program) php(args ...string) *exec.Cmd {
	p.t.Helper()
	bin, err := exec.LookPath("php")
	if err != nil {
		p.t.Fatal("php is not installed: the Debian package is php-cli")
	}
	c := exec.Command(bin, args...)
	c.Env = append(os.Environ(), "PUSHD_API_LISTEN="+p.API, "PUSHD_API_KEY="+p.Key)
	return c
}

// phpPrints runs a PHP program that must succeed.
func (p *program) phpPrints(want string, args ...string) {
	p.t.Helper()
	c := p.php(args...)
	if out, err := c.CombinedOutput(); err != nil || string(out) != want {
		p.t.Fatalf("%s: %v\nprints %q\nwant   %q", c, err, out, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
