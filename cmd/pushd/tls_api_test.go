package main_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

const month = 30 * 24 * time.Hour

// secureAPI is a server whose API and metrics speak TLS.
type secureAPI struct {
	*pushdtest.Server
	t       *testing.T
	ca      *testkit.CA
	metrics string
}

func newSecureAPI(t *testing.T, look string, more ...string) *secureAPI {
	t.Helper()
	s := &secureAPI{t: t, ca: testkit.NewCA(t), metrics: pushdtest.FreeAddr(t)}
	s.Server = pushdtest.Start(t, pushdtest.Options{Manual: true, Env: []string{"PUSHD_TLS_LOOK=" + look}, Config: `
[api]
tls = { cert = "cert.pem", key = "key.pem" }

[metrics]
listen = "` + s.metrics + `"
tls = { cert = "cert.pem", key = "key.pem", min_version = "1.3" }

[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/echo" = "echo" }
` + strings.Join(more, "\n")})
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), month, "push.example.com")
	return s
}

func (s *secureAPI) file(name string) string { return filepath.Join(s.Dir, name) }

// client trusts the test's authority and expects the name of the certificate.
func (s *secureAPI) client(change ...func(*tls.Config)) *http.Client {
	c := &tls.Config{RootCAs: s.ca.Pool(), ServerName: "push.example.com"}
	for _, f := range change {
		f(c)
	}
	t := &http.Transport{TLSClientConfig: c}
	s.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: pushdtest.Timeout}
}

// serial asks for something and returns the serial number of the certificate
// that the answer came with.
func (s *secureAPI) serial(c *http.Client, addr, path string) string {
	s.t.Helper()
	r, err := c.Get("https://" + addr + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v", path, r.Status, err)
	}
	return r.TLS.PeerCertificates[0].SerialNumber.String()
}

// now is serial of a new connection.
func (s *secureAPI) now() string {
	s.t.Helper()
	return s.serial(s.client(), s.API, "/healthz")
}

func TestAPIOverTLS(t *testing.T) {
	s := newSecureAPI(t, "100ms")
	s.MustRun("start", "-d")
	conn := s.Dial("/echo")
	defer conn.Close()
	if out := s.MustRun("publish", "nobody", "hi"); out != "reached 0 connections\n" {
		t.Errorf("publish: %q", out)
	}
	s.serial(s.client(), s.API, "/healthz")
	s.serial(s.client(), s.metrics, "/metrics")
	if _, err := s.client(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }).Get("https://" + s.metrics + "/metrics"); err == nil {
		t.Error("TLS 1.2 below min_version")
	}
	if _, err := s.client(func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	}).Get("https://" + s.API + "/healthz"); err == nil {
		t.Error("a CBC suite")
	}
	if err := os.WriteFile(s.file("ca.pem"), s.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.API)
	out, err := exec.Command("curl", "-sS", "--noproxy", "*", "--cacert", s.file("ca.pem"), "--resolve", "push.example.com:"+port+":127.0.0.1",
		"-H", "Authorization: Bearer "+s.Key, "https://push.example.com:"+port+"/v1/stats").CombinedOutput()
	var stats struct {
		Certificates []struct {
			File     string
			Names    []string
			NotAfter time.Time `json:"not_after"`
		}
	}
	if err != nil || json.Unmarshal(out, &stats) != nil || len(stats.Certificates) != 1 || stats.Certificates[0].File != s.file("cert.pem") ||
		fmt.Sprint(stats.Certificates[0].Names) != "[push.example.com]" || time.Until(stats.Certificates[0].NotAfter) < month-time.Hour {
		t.Errorf("curl: %v\n%s", err, out)
	}
}

// TestKeysAreInNoCoreDump: each process, with TLS or without, leaves its data out of
// a core dump, and so does one that is started later.
func TestKeysAreInNoCoreDump(t *testing.T) {
	s := newSecureAPI(t, "1h")
	s.WriteConfig(reloadConfig)
	s.MustRun("start", "-d")
	hidden := func(when string) {
		t.Helper()
		for _, p := range s.Processes() {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/coredump_filter", p.PID))
			if err != nil || strings.TrimSpace(string(b)) != "00000010" {
				t.Errorf("%s: %v: %s, %v", when, p, b, err)
			}
		}
	}
	hidden("without TLS")
	s.WriteConfig(reloadConfig + `
[api]
tls = { cert = "cert.pem", key = "key.pem" }
`)
	if r := reload(t, s.Server); !r.OK {
		t.Fatalf("%+v", r)
	}
	hidden("with TLS")
}

// Who knocks only, or is not understood, costs nobody anything.
func TestOddClientsOfATLSPort(t *testing.T) {
	s := newSecureAPI(t, "100ms")
	s.MustRun("start", "-d")
	for range 3 { // a balancer's health check
		c, err := net.Dial("tcp", s.API)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	r, err := http.Get("http://" + s.API + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, _ := io.ReadAll(r.Body); r.StatusCode != 400 || !bytes.Contains(body, []byte("https")) {
		t.Errorf("a plain client: %s %q", r.Status, body)
	}
	pushdtest.Eventually(t, "the plain client is logged", func() bool { return strings.Contains(s.Log(), "does not speak TLS") })
	if log := s.Log(); strings.Count(log, "TLS handshake failed") != 1 {
		t.Errorf("log:\n%s", log)
	}
	if _, err := http.Get("https://" + s.API + "/healthz"); err == nil {
		t.Error("a client that does not know the authority is content")
	}
}

// Changed files are taken over by themselves and by reload, and what is worse
// than what there is is not. No process is replaced for it.
func TestCertificatesAreRenewed(t *testing.T) {
	s := newSecureAPI(t, "100ms")
	s.MustRun("start", "-d")
	conn := s.Dial("/echo")
	defer conn.Close()
	before, first := s.Status(), s.now()
	unmoved := func(when string) {
		t.Helper()
		st := s.Status()
		for i, w := range st.Workers {
			if w.PID != before.Workers[i].PID || st.Broker.PID != before.Broker.PID {
				t.Errorf("%s: processes were replaced: %+v, before %+v", when, st, before)
			}
		}
		conn.SendText("still")
		conn.WantText("still")
	}
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), 2*month, "push.example.com")
	pushdtest.Eventually(t, "the new certificate is served", func() bool { return s.now() != first })
	unmoved("by itself")

	second := s.now()
	if err := os.WriteFile(s.file("key.pem"), []byte("half of a"), 0o600); err != nil {
		t.Fatal(err)
	}
	pushdtest.Eventually(t, "the bad key is told of", func() bool { return strings.Contains(s.Log(), "not taken over") })
	if r := s.Run("reload"); r.Code != 1 || !strings.Contains(r.Stderr, "certificates: "+s.file("cert.pem")) || !strings.Contains(r.Stderr, "no private key") {
		t.Errorf("reload with half a key: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	if out := s.MustRun("status"); !strings.Contains(out, "could not be had: "+s.file("cert.pem")) {
		t.Errorf("status:\n%s", out)
	}
	s.Kill(s.Status().Broker.PID) // the next one gets the pair that was good
	pushdtest.Eventually(t, "another broker process is ready", func() bool {
		pid := s.Status().Broker.PID
		return pid != 0 && pid != before.Broker.PID && conns(s.API)
	})
	if got := s.now(); got != second {
		t.Errorf("the respawned process serves certificate %s, not %s", got, second)
	}
	before = s.Status()
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), 3*month, "push.example.com")
	pushdtest.Eventually(t, "the third certificate is served", func() bool { return s.now() != second })
	s.MustRun("reload") // the hook of who wrote them
	unmoved("by reload after it")
	if out := s.MustRun("status"); strings.Contains(out, "certificate") {
		t.Errorf("status of good certificates:\n%s", out)
	}
	s.MustRun("reload")
	if now := s.Status(); now.Workers[0].PID == before.Workers[0].PID {
		t.Error("a reload of nothing new has replaced nobody")
	}
	if log := s.Log(); strings.Contains(log, "BEGIN PRIVATE KEY-----\\n") || strings.Count(log, "certificate renewed") != 2 {
		t.Errorf("log:\n%s", log)
	}
}

func TestReloadRenewsCertificatesAlone(t *testing.T) {
	s := newSecureAPI(t, "1h")
	s.MustRun("start", "-d")
	before, first := s.Status(), s.now()
	for range 3 {
		s.ca.Write(s.file("cert.pem"), s.file("key.pem"), month, "push.example.com")
		s.MustRun("reload")
		if got := s.now(); got == first {
			t.Fatal("reload came back, and the old certificate is served")
		} else {
			first = got
		}
	}
	for says, change := range map[string]func(*x509.Certificate){
		"it has expired on":   func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"it is not valid bef": func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
	} {
		cert, key := s.ca.Issue(month, []string{"push.example.com"}, change)
		if err := errors.Join(os.WriteFile(s.file("cert.pem"), cert, 0o600), os.WriteFile(s.file("key.pem"), key, 0o600)); err != nil {
			t.Fatal(err)
		}
		if r := s.Run("reload"); r.Code != 1 || !strings.Contains(r.Stderr, "certificates: "+s.file("cert.pem")+": "+says) {
			t.Errorf("reload: %d %s%s", r.Code, r.Stdout, r.Stderr)
		}
		if got := s.now(); got != first {
			t.Errorf("%s: and it is served", says)
		}
	}
	if now := s.Status(); now.Workers[0].PID != before.Workers[0].PID || now.Broker.PID != before.Broker.PID {
		t.Errorf("processes were replaced: %+v, before %+v", now, before)
	}
}

// TestExpiredAfterExpired: what is served is no better, and a reload is not to wait for it.
func TestExpiredAfterExpired(t *testing.T) {
	s := newSecureAPI(t, "1h")
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), -time.Hour, "push.example.com")
	s.MustRun("start", "-d")
	serial := func() string {
		return s.serial(s.client(func(c *tls.Config) { c.InsecureSkipVerify = true }), s.API, "/healthz")
	}
	first := serial()
	s.MustRun("reload")
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), -time.Minute, "push.example.com")
	s.MustRun("reload")
	if serial() == first {
		t.Error("the first one is served")
	}
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), month, "push.example.com")
	s.MustRun("reload")
	s.now()
}

// TestNewTLSConnectionsWhileTheBrokerIsReplaced: none of their requests fails, and
// what has been answered has arrived.
func TestNewTLSConnectionsWhileTheBrokerIsReplaced(t *testing.T) {
	s := newSecureAPI(t, "1h")
	written, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(written), `"/echo" = "echo"`, `"/chat" = "chat"`, 1)
	s.WriteConfig(config)
	s.MustRun("start", "-d")
	member := s.Dial("/chat")
	defer member.Conn.Close()
	heard := make(chan map[string]int, 1)
	go func() {
		all := map[string]int{}
		for {
			_, text, err := member.Next(pushdtest.Timeout)
			if err != nil || string(text) == "end" {
				heard <- all
				return
			}
			all[string(text)]++
		}
	}()
	fresh := s.client()
	fresh.Transport.(*http.Transport).DisableKeepAlives = true
	ask := func(addr, path, body string) error {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		r, _ := http.NewRequest(method, "https://"+addr+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+s.Key)
		r.Header.Set("Content-Type", "application/json")
		answer, err := fresh.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s, %v", answer.Status, err)
		}
		return nil
	}
	publish := func(text string) error {
		return ask(s.API, "/v1/publish", fmt.Sprintf(`{"channel":%q,"data":%q}`, lobby, text))
	}
	clients := []*publisher{{name: "metrics", send: func(n int) error { return ask(s.metrics, []string{"/metrics", "/healthz"}[n%2], "") }}}
	for _, name := range []string{"a", "b", "c"} {
		clients = append(clients, &publisher{name: name, send: func(n int) error { return publish(fmt.Sprint(name, n)) }})
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			if err := c.run(stop); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range 6 {
		for _, c := range clients {
			least := c.sent.Load() + 30
			pushdtest.Eventually(t, c.name+" goes on", func() bool { return c.sent.Load() >= least || t.Failed() })
		}
		before := s.Status().Broker.PID
		s.WriteConfig([]string{"log_level = \"debug\"\n", ""}[n%2] + config)
		s.MustRun("reload")
		if now := s.Status().Broker.PID; now == before || now == 0 {
			t.Errorf("the broker process %d became %d", before, now)
		}
	}
	close(stop)
	all.Wait()
	if err := publish("end"); err != nil {
		t.Fatal(err)
	}
	got := <-heard
	for _, c := range clients[1:] {
		for n := range c.sent.Load() {
			if text := fmt.Sprint(c.name, n); got[text] != 1 {
				t.Errorf("%s was answered, and has arrived %d times", text, got[text])
			}
		}
	}
}

// What the master keeps outlives its own replacement and the files: a process
// that is started later serves the same pair, and opens the tickets of before.
func TestCopiesOutliveTheMastersCode(t *testing.T) {
	s := newSecureAPI(t, "1h")
	u := &upgradable{s.Server, t}
	u.Binary = s.file("pushd")
	u.install(build(t, "one"))
	u.MustRun("start", "-d")
	first := s.now()
	sessions := tls.NewLRUClientSessionCache(4)
	resumes := func() bool {
		t.Helper()
		r, err := s.client(func(c *tls.Config) { c.ClientSessionCache = sessions }).Get("https://" + s.API + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		_, _ = io.Copy(io.Discard, r.Body)
		return r.TLS.DidResume
	}
	if resumes() {
		t.Error("the first handshake resumes something")
	}
	u.upgrade("two")
	if !resumes() {
		t.Error("after an upgrade the ticket does not open")
	}
	for _, name := range []string{"cert.pem", "key.pem"} {
		if err := os.Remove(s.file(name)); err != nil {
			t.Fatal(err)
		}
	}
	old := s.Status().Broker.PID
	s.Kill(old)
	pushdtest.Eventually(t, "another broker process is ready", func() bool {
		pid := s.Status().Broker.PID
		return pid != 0 && pid != old && conns(s.API)
	})
	if got := s.now(); got != first {
		t.Errorf("certificate %s, not %s", got, first)
	}
	if !resumes() {
		t.Error("the ticket does not open in a process that was started again")
	}
	for _, p := range s.Processes() { // nobody's command line or environment has a key or its path
		for _, file := range []string{"cmdline", "environ"} {
			if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID, file)); err == nil && bytes.Contains(raw, []byte("key.pem")) {
				t.Errorf("%s of %+v: %q", file, p, raw)
			}
		}
	}
}

func conns(addr string) bool {
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestEndingCertificateIsToldOf(t *testing.T) {
	s := newSecureAPI(t, "100ms")
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), 5*24*time.Hour+time.Hour, "push.example.com")
	const says = "expires in 5 days"
	if out := s.MustRun("check"); !strings.Contains(out, says) || !strings.Contains(out, "api.tls") {
		t.Errorf("check:\n%s", out)
	}
	if out := s.MustRun("doctor"); !strings.Contains(out, "warn  start") || !strings.Contains(out, says) {
		t.Errorf("doctor:\n%s", out)
	}
	s.MustRun("start", "-d")
	pushdtest.Eventually(t, "the log warns", func() bool { return strings.Contains(s.Log(), says) })
	if out := s.MustRun("status"); !strings.Contains(out, says) {
		t.Errorf("status:\n%s", out)
	}
	r, err := s.client().Get("https://" + s.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	if want := `pushd_tls_certificate_expiry_timestamp_seconds{file="` + s.file("cert.pem") + `"} 1.`; !bytes.Contains(body, []byte(want)) {
		t.Errorf("no %s in\n%s", want, body)
	}
}

// Clients that need a certificate, and the pairs that a name chooses.
func TestClientCertificatesAndNames(t *testing.T) {
	s := newSecureAPI(t, "100ms")
	s.ca.Write(s.file("other.pem"), s.file("other.key"), month, "*.example.org")
	if err := os.WriteFile(s.file("ca.pem"), s.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.WriteConfig(`
[api]
tls = [ { cert = "cert.pem", key = "key.pem", client_ca = "ca.pem" }, { cert = "other.pem", key = "other.key" } ]

[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 1
routes = { "/echo" = "echo" }
`)
	s.MustRun("start", "-d")
	if _, err := s.client().Get("https://" + s.API + "/healthz"); err == nil {
		t.Error("a client without a certificate")
	}
	pushdtest.Eventually(t, "it is told why", func() bool { return strings.Contains(s.Log(), "client_ca asks for") })
	pair, key := s.ca.Issue(month, []string{"client"})
	mine, err := tls.X509KeyPair(pair, key)
	if err != nil {
		t.Fatal(err)
	}
	with := func(c *tls.Config) { c.Certificates = []tls.Certificate{mine} }
	first := s.serial(s.client(with), s.API, "/healthz")
	second := s.serial(s.client(with, func(c *tls.Config) { c.ServerName = "a.example.org" }), s.API, "/healthz")
	if first == second {
		t.Error("one certificate for both names")
	}
}

// Everything that does not fit is found by check, and start and reload refuse it.
func TestCheckFindsWhatDoesNotFit(t *testing.T) {
	s := newSecureAPI(t, "100ms")
	write := func(name string, data []byte, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(s.file(name), data, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.file(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := s.ca.Issue(month, []string{"push.example.com"})
	other, otherKey := s.ca.Issue(month, []string{"other.example.com"})
	old, oldKey := s.ca.Issue(-time.Hour, []string{"push.example.com"})
	noName, noNameKey := s.ca.Issue(month, []string{"push"}, func(c *x509.Certificate) { c.DNSNames = nil })
	for name, c := range map[string]struct {
		cert, key []byte
		mode      os.FileMode
		want      string
		code      int
	}{
		"two pairs":      {cert, otherKey, 0o600, "the key does not belong to the certificate of push.example.com", 1},
		"wrong order":    {append(bytes.Clone(other), cert...), key, 0o600, "the key belongs to the second", 1},
		"open to all":    {cert, key, 0o644, "can be read by everybody", 1},
		"writable":       {cert, key, 0o602, "can be written by everybody", 1},
		"no key":         {cert, cert, 0o600, "holds no private key", 1},
		"no certificate": {key, key, 0o600, "holds no certificate", 1},
		"over":           {old, oldKey, 0o600, "pushd.toml:3: api.tls: ", 0},
		"no name":        {noName, noNameKey, 0o600, "it names no host", 0},
		"order of chain": {append(bytes.Clone(cert), other...), key, 0o600, "second certificate, of other.example.com, has not issued", 0},
		"good":           {cert, key, 0o640, "this machine does not know CN=pushd test authority", 0},
	} {
		write("cert.pem", c.cert, 0o644)
		write("key.pem", c.key, c.mode)
		r := s.Run("check")
		if got := r.Stdout + r.Stderr; r.Code != c.code || !strings.Contains(got, c.want) {
			t.Errorf("%s: check: %d %s", name, r.Code, got)
		}
		if c.code != 0 {
			if r := s.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, c.want) {
				t.Errorf("%s: start: %d %s", name, r.Code, r.Stderr)
			}
		}
	}
	s.WriteConfig(strings.ReplaceAll(`
[api]
tls = { cert = "cert.pem", min_version = "1.1", bogus = 1 }
[metrics]
tls = []
`, "\t", ""))
	r := s.Run("check")
	for _, want := range []string{"cert and key need each other", `unknown key`, "no certificate"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %s", want, r.Stderr)
		}
	}
}
