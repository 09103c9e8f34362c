package broker

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// serverAt runs a NATS server with a config file of its own.
func serverAt(t *testing.T, addr, config string) *server.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(fmt.Sprintf("listen: %q\n%s", addr, config)), 0o600); err != nil {
		t.Fatal(err)
	}
	return serverOf(t, file)
}

// serverOf is a server of a config file.
func serverOf(t *testing.T, file string) *server.Server {
	t.Helper()
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(time.Minute) {
		t.Fatal("NATS does not start")
	}
	return ns
}

// TestServersInTheOrderOfTheURL: the first is taken, when it is gone the second,
// and the first again once it has been back for a while.
func TestServersInTheOrderOfTheURL(t *testing.T) {
	a, b := pushdtest.FreeAddr(t), pushdtest.FreeAddr(t) // nobody else comes by the first one's while that is away
	first := serverAt(t, a, "")
	serverAt(t, b, "")
	c, err := NewClient(Options{ID: "x", Node: "n", URL: "nats://u:hunter2@" + a + ", nats://" + b, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	c.link.backAfter = 100 * time.Millisecond
	var in inbox
	if err := c.Start(&in); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	hangs := func(what, where string) {
		t.Helper()
		testkit.Eventually(t, what, func() bool { return c.Stats().Connected && c.link.hung() == where })
	}
	hangs("on the first", a)
	first.Shutdown()
	first.WaitForShutdown()
	hangs("on the second", b)
	patient(t, c, message("room", "by the second"))
	serverAt(t, a, "")
	hangs("on the first again", a)
	patient(t, c, message("room", "by the first"))
	testkit.Eventually(t, "both have come", func() bool { return in.count() == 2 })
	if got := strings.Join(in.texts(), ","); got != "by the second,by the first" {
		t.Error(got)
	}
}

func TestPoolGoesRound(t *testing.T) {
	p := newPool("nats://u:p@a:1, tls://b, nats://[::1]")
	if want := []string{"a:1", "b:4222", "[::1]:4222"}; !slices.Equal(p.order, want) {
		t.Fatalf("%q", p.order)
	}
	var servers []nats.Server
	for _, h := range []string{"c:9", "[::1]:4222", "b:4222", "a:1"} {
		servers = append(servers, nats.Server{URL: &url.URL{Host: h}})
	}
	chosen := func() string {
		s, _ := p.choose(servers, nats.ServerInfo{})
		return s.URL.Host
	}
	p.connected("a:1")
	if got := []string{chosen(), chosen(), chosen(), chosen()}; !slices.Equal(got, []string{"b:4222", "[::1]:4222", "a:1", "b:4222"}) {
		t.Errorf("behind a: %q", got)
	}
	p.first()
	if got := chosen(); got != "a:1" {
		t.Errorf("back to %q", got)
	}
	if s, _ := p.choose(nil, nats.ServerInfo{}); s != nil {
		t.Error("one that is not there was chosen")
	}
}

const ( // of no other use
	testSeed = "SUAF227FNEER5Q6SSWJULACOETPJEBML3VF6VT3BIF4GFHOJMWGAZJB6BA"
	testUser = "UCDWTVVL6C2Y3FYFPDIDP5VSNYILGHM2K5FDMNV4BF3D66R6DZ2ANCO5"
)

// TestAccessToACluster: TLS with an authority of one's own, and a key in the place
// of a password; what is wrong is said without secrets.
func TestAccessToACluster(t *testing.T) {
	dir := t.TempDir()
	ca := testkit.NewCA(t)
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, key := ca.Issue(time.Hour, []string{"127.0.0.1"})
	ns := serverAt(t, "127.0.0.1:-1", fmt.Sprintf("tls { cert_file: %q, key_file: %q }\nauthorization { users: [ { nkey: %s } ] }\n",
		write("cert.pem", cert), write("key.pem", key), testUser))
	good := Access{CA: write("ca.pem", ca.PEM()), NKey: write("seed", []byte(testSeed))}
	open := func(url string, a Access, limit time.Duration) error {
		c, err := NewClient(Options{ID: "x", Node: "n", URL: url, Access: a, Logger: quiet(), StartTimeout: limit})
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Start(nil)
	}
	addr := "tls://" + ns.Addr().String()
	if err := open(addr, good, time.Minute); err != nil {
		t.Errorf("with both: %v", err)
	}
	for name, a := range map[string]Access{"no authority": {NKey: good.NKey}, "no key": {CA: good.CA}, "no such file": {CA: dir + "/nope"}, "no seed": {CA: good.CA, NKey: good.CA}} {
		if err := open(addr, a, time.Second); err == nil || strings.Contains(err.Error(), testSeed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := open(strings.Replace(addr, "tls://", "tls://u:hunter2@", 1), Access{CA: good.CA}, time.Second); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestNobodyAnswersIsAway: a server that takes bytes and answers nothing is given
// up, and a question that was put to it is refused rather than answered by nobody.
func TestNobodyAnswersIsAway(t *testing.T) {
	ns := serverAt(t, "127.0.0.1:-1", "")
	var in inbox
	c, err := NewClient(Options{ID: "api", Node: "n", URL: "nats://" + ns.Addr().String(), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(&in); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.link.answers(); err != nil {
		t.Error(err)
	}
	c.SetRoster([]string{"n/push/0/1"})
	g := c.gather(1, Who{})
	defer g.close()
	g.await()
	if g.vain() {
		t.Error("the server answers, the worker does not: that is no reason to refuse")
	}
	c.link.joins.Add(1)
	if !g.vain() {
		t.Error("the connection was another one: who knows where the question went")
	}
	ns.Shutdown()
	ns.WaitForShutdown()
	testkit.Eventually(t, "no answer", func() bool { return errors.Is(c.link.answers(), errSilent) })
	if !errors.Is(c.Publish(message("room", "x")), worker.ErrBrokerAway) {
		testkit.Eventually(t, "away", func() bool { return errors.Is(c.Publish(message("room", "x")), worker.ErrBrokerAway) })
	}
}
