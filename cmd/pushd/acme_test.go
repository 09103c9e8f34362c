package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// authority is Pebble, the test authority of Let's Encrypt.
type authority struct {
	directory string
	ca        string // file of the authority that its own certificate is of
	roots     string // URL of the root of what it issues
	client    *http.Client
}

// startAuthority runs one that proves all domains at a port of this machine, and
// issues certificates for so many seconds.
func startAuthority(t *testing.T, port string, seconds int) *authority {
	t.Helper()
	dir := t.TempDir()
	install := exec.Command("go", "install", "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1")
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ca := testkit.NewCA(t)
	ca.Write(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), month, "127.0.0.1")
	a := &authority{ca: filepath.Join(dir, "ca.pem")}
	if err := os.WriteFile(a.ca, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	listen, manage := pushdtest.FreeAddr(t), pushdtest.FreeAddr(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage, "certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": 1, "tlsPort": number(t, port), "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "d", "validityPeriod": seconds}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(dir, "pebble"), "-config", file, "-dnsserver", serveNames(t))
	c.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20", "PEBBLE_AUTHZREUSE=0")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if raw, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("log of the authority:\n%s", raw)
		}
	})
	a.directory, a.roots = "https://"+listen+"/dir", "https://"+manage+"/roots/0"
	a.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}}
	pushdtest.Eventually(t, "the authority answers", func() bool {
		r, err := a.client.Get(a.directory)
		if err == nil {
			r.Body.Close()
		}
		return err == nil
	})
	return a
}

// pool is what trusts the certificates of the authority.
func (a *authority) pool(t *testing.T) *x509.CertPool {
	t.Helper()
	r, err := a.client.Get(a.roots)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, _ := io.ReadAll(r.Body)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		t.Fatalf("no root in %s", data)
	}
	return pool
}

func number(t *testing.T, port string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// serveNames is a DNS server, over TCP as the authority asks, for which every
// name is this machine's.
func serveNames(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					size := make([]byte, 2)
					if _, err := io.ReadFull(c, size); err != nil {
						return
					}
					query := make([]byte, binary.BigEndian.Uint16(size))
					if _, err := io.ReadFull(c, query); err != nil {
						return
					}
					answer := nameHere(query)
					_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// nameHere answers a question for an address, and has nothing for any other.
func nameHere(query []byte) []byte {
	end := 12
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	q := query[12 : end+5]
	answer := slices.Concat(query[:2], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q)
	if q[len(q)-3] == 1 { // A
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1)
	}
	return answer
}

// A certificate is ordered, served, renewed a third of its life before its end,
// and ordered by nobody else.
func TestCertificateIsOrdered(t *testing.T) {
	if os.Getenv("PUSHD_TEST_FULL") != "1" {
		t.Skip("builds and runs the test authority of Let's Encrypt: PUSHD_TEST_FULL=1")
	}
	s := newSecureAPI(t, "1h")
	_, port, _ := net.SplitHostPort(s.API)
	a := startAuthority(t, port, 30)
	s.WriteConfig(`
[api]
tls = { acme = ["push.example.com", "www.example.com"], email = "ops@example.com", acme_directory = "` + a.directory + `", acme_ca = "` + a.ca + `" }

[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 1
routes = { "/echo" = "echo" }
`)
	s.MustRun("check")
	s.MustRun("start", "-d")
	pool := a.pool(t)
	serial := func() string {
		c, err := tls.Dial("tcp", s.API, &tls.Config{RootCAs: pool, ServerName: "www.example.com"})
		if err != nil {
			return ""
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	pushdtest.Eventually(t, "a certificate is issued and served", func() bool { return serial() != "" })
	first := serial()
	var st struct {
		Certificates []struct {
			File  string
			Names []string
			Due   time.Time
			Error string
		}
	}
	status := func() {
		t.Helper()
		if err := json.Unmarshal([]byte(s.MustRun("status", "--json")), &st); err != nil {
			t.Fatal(err)
		}
	}
	pushdtest.Eventually(t, "status tells when the next one is due", func() bool {
		status()
		return len(st.Certificates) == 1 && st.Certificates[0].Due.After(time.Now()) && len(st.Certificates[0].Names) == 2
	})
	if _, err := tls.Dial("tcp", s.API, &tls.Config{ServerName: "push.example.com", InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}}); err == nil {
		t.Error("a proof is given when none is asked for")
	}
	pushdtest.Eventually(t, "it is renewed", func() bool { got := serial(); return got != "" && got != first })
	for _, f := range []string{"account.pem", "push.example.com.pem"} {
		info, err := os.Stat(s.file("data/acme/" + f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info, err)
		}
	}
	if log := s.Log(); strings.Contains(log, "BEGIN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("log:\n%s", log)
	}
}

// An authority that cannot be reached is told of and asked again; the listener
// is open meanwhile.
func TestAuthorityAway(t *testing.T) {
	s := newSecureAPI(t, "1h")
	s.WriteConfig(`
[api]
tls = { acme = ["push.example.com"], acme_directory = "https://` + pushdtest.FreeAddr(t) + `/dir" }

[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 1
routes = { "/echo" = "echo" }
`)
	s.MustRun("check")
	s.MustRun("start", "-d")
	pushdtest.Eventually(t, "the failure is told of", func() bool { return strings.Contains(s.Log(), "certificate not issued") })
	pushdtest.Eventually(t, "status tells of it", func() bool {
		return strings.Contains(s.MustRun("status"), "connection refused")
	})
	if !conns(s.API) {
		t.Error("the listener is not open")
	}
	for line, want := range map[string]string{
		`acme = ["*.example.com"]`: "a wildcard cannot be proved", `acme = ["push"]`: "no domain", `acme = ["10.0.0.1"]`: "no domain",
		`acme = ["a.example.com"], cert = "cert.pem"`: "leave out acme", `email = "me@example.com", cert = "cert.pem", key = "key.pem"`: "is for certificates that are ordered",
	} {
		s.WriteConfig("[api]\ntls = { " + line + " }\n")
		if r := s.Run("check"); r.Code != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %s%s", line, r.Stdout, r.Stderr)
		}
	}
	s.WriteConfig("[broker]\nurl = \"nats://127.0.0.1:4222\"\n[api]\ntls = { acme = [\"push.example.com\"] }\n")
	if r := s.Run("check"); r.Code != 1 || !strings.Contains(r.Stderr, "--deploy-hook") {
		t.Errorf("with a cluster: %s%s", r.Stdout, r.Stderr)
	}
}
