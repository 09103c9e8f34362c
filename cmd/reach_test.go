package cmd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker/broker"
)

// natsOf runs a server of a config until the test is over.
func natsOf(t *testing.T, config string) (addr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte("listen: \"127.0.0.1:-1\"\nmax_payload: 2MB\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
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
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	if !ns.ReadyForConnections(pushdtest.Timeout) {
		t.Fatal("NATS does not start")
	}
	return ns.Addr().String()
}

// TestNATSThatWillNotDo: what a start would be refused once it is connected, check and
// doctor say before, with what mends it, and a restart stops nothing.
func TestNATSThatWillNotDo(t *testing.T) {
	t.Parallel()
	plain := natsOf(t, "")
	config := func(url, node, more string) string {
		return twoWorkers + fmt.Sprintf("[broker]\nurl = \"nats://%s\"\n[cluster]\nnode = %q\n%s", url, node, more)
	}
	pushdtest.Start(t, pushdtest.Options{Config: config(plain, "a", "")}) // the node a is there
	history := "[history]\nstore = \"jetstream\"\nreplicas = 1\n[[channel]]\nmatch = \"h.*\"\nhistory = 5\n"
	dumb := natsOf(t, `authorization { users: [ { user: "u", password: "x", permissions: { subscribe: ">", publish: { deny: ">" } } } ] }`)
	for _, tc := range []struct {
		name, config, says, mend string
		running                  bool // a pushd that runs would be stopped for it
	}{
		{"a name that is taken", config(plain, "a", ""), "another pushd on this NATS is the node", "[cluster] node", false},
		{"no JetStream", config(plain, "b", history), "has no JetStream", "jetstream {", true},
		{"no right to publish", config("u:x@"+dumb, "b", ""), "needs the rights to publish", "grant them", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := pushdtest.Start(t, pushdtest.Options{Config: tc.config, Manual: true})
			if r := s.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, tc.says) {
				t.Fatalf("start: %d %q", r.Code, r.Stderr)
			}
			if r := s.Run("check"); r.Code != 0 || !strings.Contains(r.Stdout, "a start would fail now: ") || !strings.Contains(r.Stdout, tc.says) {
				t.Errorf("check: %d %q", r.Code, r.Stdout+r.Stderr)
			}
			if r := s.Run("doctor"); r.Code != 1 || !strings.Contains(r.Stdout, tc.says) || !strings.Contains(r.Stdout, "→ "+tc.mend) {
				t.Errorf("doctor: %d %q", r.Code, r.Stdout)
			}
			if !tc.running {
				return
			}
			s.WriteConfig(twoWorkers)
			s.MustRun("start", "-d")
			s.WriteConfig(tc.config)
			if r := s.Run("restart", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "nothing has been stopped: ") || !strings.Contains(r.Stderr, tc.says) {
				t.Errorf("restart: %d %q", r.Code, r.Stderr)
			}
		})
	}
	s := pushdtest.Start(t, pushdtest.Options{Config: config(plain, "b", "")})
	if r := s.Run("doctor"); r.Code != 0 {
		t.Errorf("doctor beside a node that runs: %d %q", r.Code, r.Stdout)
	}
}

// TestGettingIn: what keeps a start from NATS is mended where it comes from.
func TestGettingIn(t *testing.T) {
	verify := func(err error) error {
		return fmt.Errorf("connect: %w", fmt.Errorf("%w: %w", nats.ErrTLS, &tls.CertificateVerificationError{Err: err}))
	}
	noPEM := broker.Reach(broker.Options{ID: "x", Node: "n", URL: "tls://127.0.0.1:1", Access: broker.Access{CA: "reach_test.go"}, StartTimeout: time.Second})
	for want, err := range map[string]error{
		`tls = { ca = "ca.pem" }`:   verify(x509.UnknownAuthorityError{}),
		"the name of each server":   verify(x509.HostnameError{Certificate: &x509.Certificate{}}),
		"authority that has":        noPEM,
		"start that server, or let": errors.New("no servers available"),
	} {
		if got := gettingIn(err); !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
