package main_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// TestClientCertificatesOfWorkers: a port that is for those who have a certificate,
// with a ticket too, after a reload and in a process that takes the place of a dead one.
func TestClientCertificatesOfWorkers(t *testing.T) {
	t.Parallel()
	s := &secureServer{ca: testkit.NewCA(t), text: pushdtest.FreeAddr(t)}
	s.Server = pushdtest.Start(t, pushdtest.Options{Manual: true, Config: `
watchdog = 0
[[worker]]
name = "lines"
listen = "text+tls://` + s.text + `"
tls = { cert = "cert.pem", key = "key.pem", client_ca = "ca.pem" }
count = 1
handler = "echo"
`})
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), month, "push.example.com")
	if err := os.WriteFile(s.file("ca.pem"), s.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.MustRun("start", "-d")
	config := func(ca *testkit.CA) *tls.Config {
		c := &tls.Config{RootCAs: s.ca.Pool(), ServerName: "push.example.com", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		if ca != nil {
			pair, err := tls.X509KeyPair(ca.Issue(month, []string{"client.example.com"}))
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = []tls.Certificate{pair}
		}
		return c
	}
	dial := func(c *tls.Config) (*tls.Conn, error) {
		t.Helper()
		raw, err := net.DialTimeout("tcp", s.text, pushdtest.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		_ = raw.SetDeadline(time.Now().Add(2 * pushdtest.Timeout))
		conn := tls.Client(raw, c)
		return conn, lineBack(conn, "hello")
	}
	strangers := 0
	refuses := func(when string) {
		t.Helper()
		for i, ca := range []*testkit.CA{nil, testkit.NewCA(t)} { // in this order: the log has one a second
			if _, err := dial(config(ca)); err == nil || !strings.Contains(err.Error(), "remote error: tls") {
				t.Errorf("%s: a client with %s: %v", when, []string{"no certificate", "one of somebody else"}[i], err)
			}
			strangers++
		}
	}
	member := config(s.ca)
	first, err := dial(member)
	if err != nil {
		t.Fatal(err)
	}
	refuses("at first")
	pushdtest.Eventually(t, "the log says why", func() bool { return strings.Contains(s.Log(), "client_ca asks for") })
	if r := reload(t, s.Server); !r.OK || r.Moved != 1 {
		t.Fatalf("%+v", r)
	}
	if err := lineBack(first, "moved"); err != nil {
		t.Error("after a move:", err)
	}
	refuses("after a reload")
	if c, err := dial(member); err != nil || !c.ConnectionState().DidResume {
		t.Errorf("its ticket after a reload: %v", err)
	}
	pid := s.Status().Workers[0].PID
	s.Kill(pid)
	pushdtest.Eventually(t, "another worker is ready", func() bool {
		w := s.Status().Workers[0]
		return w.PID != pid && w.State == "ready"
	})
	refuses("after a death")
	if c, err := dial(member); err != nil || !c.ConnectionState().DidResume {
		t.Errorf("its ticket after a death: %v", err)
	}
	refused := fmt.Sprintf(`"tls_handshake":%d`, strangers)
	pushdtest.Eventually(t, "all strangers are counted", func() bool {
		return strings.Contains(strings.ReplaceAll(s.MustRun("status", "--json"), " ", ""), refused)
	})
}

// lineBack sends a line and waits for it.
func lineBack(conn net.Conn, line string) error {
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return err
	}
	got := make([]byte, len(line)+1)
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != line+"\n" {
		return fmt.Errorf("%q came back for %q", got, line)
	}
	return nil
}
