package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
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

// secureServer is a server with listeners behind TLS: WebSocket and HTTP at its
// port, lines of text at another one.
type secureServer struct {
	*pushdtest.Server
	ca   *testkit.CA
	text string // "127.0.0.1:…"
}

func newSecureServer(t *testing.T) *secureServer {
	t.Helper()
	s := &secureServer{ca: testkit.NewCA(t), text: pushdtest.FreeAddr(t)}
	s.Server = pushdtest.Start(t, pushdtest.Options{Manual: true, Config: `
watchdog = 0
drain = "100ms"
[[worker]]
name = "push"
listen = "wss://127.0.0.1:{{port}}"
tls = { cert = "cert.pem", key = "key.pem" }
count = 2
routes = { "/echo" = "echo", "/chat" = "chat" }
[[worker]]
name = "lines"
listen = "text+tls://` + s.text + `"
tls = { cert = "cert.pem", key = "key.pem" }
count = 1
handler = "echo"
`})
	s.Secure = true
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), month, "push.example.com")
	if err := os.WriteFile(s.file("ca.pem"), s.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.MustRun("start", "-d")
	return s
}

func (s *secureServer) file(name string) string { return filepath.Join(s.Dir, name) }

// TestTLSThroughReloads: clients of both versions, who resume sessions of another
// process too, and what the lists say of them.
func TestTLSThroughReloads(t *testing.T) {
	t.Parallel()
	s := newSecureServer(t)
	all := slices.Concat(s.DialEach("/echo", 2, "push")...)
	resumes := &tls.Config{RootCAs: s.ca.Pool(), ServerName: "push.example.com", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	say := func(want string) (resumed bool) {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: pushdtest.Timeout}, "tcp", s.text, resumes)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintln(conn, want)
		if line, err := bufio.NewReader(conn).ReadString('\n'); line != want+"\n" {
			t.Fatalf("%q %v", line, err)
		}
		return conn.ConnectionState().DidResume
	}
	say("first")
	for round := range 3 {
		if r := reload(t, s.Server); !r.OK || r.Moved < len(all) || r.Drained != 0 {
			t.Fatalf("%+v", r)
		}
		for _, c := range all {
			c.SendText(fmt.Sprint("round ", round))
			c.WantText(fmt.Sprint("round ", round))
		}
		if !say("again") {
			t.Errorf("round %d: the new process does not know the ticket of the old one", round)
		}
	}
	for _, l := range listing(t, s.Server, "") {
		if l.TLS != "1.3 AES128" {
			t.Errorf("%+v", l)
		}
	}
	if out := s.MustRun("plan"); strings.Contains(out, "PRIVATE") {
		t.Error("the plan has a key")
	}
}

// TestOpenSSLThroughReload: a client that updates its key, and asks for ours to be,
// right before and after it has moved.
func TestOpenSSLThroughReload(t *testing.T) {
	t.Parallel()
	s := newSecureServer(t)
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		c := newTalker(t, s, "openssl", "s_client", "-connect", s.text, "-CAfile", "ca.pem", "-verify_return_error",
			"-servername", "push.example.com", "-ciphersuites", suite)
		c.says("one\n", "one\n")
		for i := range 3 {
			c.says("K\n", "KEYUPDATE") // the answer is owed when the connection moves
			if r := reload(t, s.Server); !r.OK || r.Moved != 1 {
				t.Fatalf("%+v", r)
			}
			c.says(fmt.Sprintf("moved %d\n", i), fmt.Sprintf("moved %d\n", i))
			c.says("k\n", "KEYUPDATE")
			c.says("after\n", "after\n")
		}
		c.ends("Q\n")
	}
	c := newTalker(t, s, "openssl", "s_client", "-connect", s.text, "-CAfile", "ca.pem", "-verify_return_error",
		"-servername", "push.example.com", "-tls1_2")
	c.says("one\n", "one\n")
	reload(t, s.Server)
	c.says("two\n", "two\n")
	c.ends("Q\n")
}

// TestPythonAndNodeThroughReload: other libraries than OpenSSL's program, and
// curl, over a move.
func TestPythonAndNodeThroughReload(t *testing.T) {
	t.Parallel()
	s := newSecureServer(t)
	py := newTalker(t, s, "python3", "-u", "-c", `
import socket, ssl, sys
host, port = sys.argv[1].split(":")
s = ssl.create_default_context(cafile="ca.pem").wrap_socket(socket.create_connection((host, port)), server_hostname="push.example.com")
f = s.makefile("rb")
for line in sys.stdin:
    s.sendall(line.encode())
    print(f.readline().decode(), end="")
s.unwrap()
print("clean end")
`, s.text)
	node := newTalker(t, s, "node", "-e", `
const tls = require("tls"), [host, port] = process.argv[1].split(":")
const c = tls.connect({host, port, ca: require("fs").readFileSync("ca.pem"), servername: "push.example.com"})
process.stdin.pipe(c)
c.pipe(process.stdout)
`, s.text)
	for i := range 4 {
		long := fmt.Sprint(i, strings.Repeat("x", i*9000), "\n")
		py.says(long, long)
		node.says(long, long)
		if r := reload(t, s.Server); !r.OK || r.Moved != 2 {
			t.Fatalf("%+v", r)
		}
	}
	_ = py.in.Close()
	py.hears("clean end")
	node.ends("")
	for _, args := range [][]string{{"--tls-max", "1.2"}, {"--tlsv1.3"}} {
		args = append(args, "-sS", "--cacert", s.file("ca.pem"), "--resolve", fmt.Sprintf("push.example.com:%d:127.0.0.1", s.Port),
			fmt.Sprintf("https://push.example.com:%d/echo", s.Port))
		out, err := exec.Command("curl", args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "WebSocket") {
			t.Errorf("curl %s: %s %v", args, out, err)
		}
	}
	out, err := exec.Command("curl", "-sS", "-i", fmt.Sprintf("http://127.0.0.1:%d/echo", s.Port)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "400 Bad Request") || !strings.Contains(string(out), "speaks TLS") {
		t.Errorf("curl without TLS: %s %v", out, err)
	}
}

// TestJavaThroughReload: the TLS of a JVM, of both versions.
func TestJavaThroughReload(t *testing.T) {
	if !full() {
		t.Skip("needs a JDK, which make test-full installs: PUSHD_TEST_FULL=1")
	}
	s := newSecureServer(t)
	for _, version := range []string{"TLSv1.3", "TLSv1.2"} {
		c := newTalker(t, s, "java", filepath.Join(pushdtest.Root(t), "cmd/pushd/testdata/java/Lines.java"), s.text, version)
		c.says("first\n", "first\n")
		for i := range 3 {
			if r := reload(t, s.Server); !r.OK || r.Moved != 1 {
				t.Fatalf("%+v", r)
			}
			long := fmt.Sprint(i, strings.Repeat("x", i*9000), "\n")
			c.says(long, long)
		}
		_ = c.in.Close()
		c.hears("clean end in " + version)
	}
}

// talker is a program that says what it reads and is told what to say.
type talker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	got bytes.Buffer
}

func newTalker(t *testing.T, s *secureServer, name string, args ...string) *talker {
	t.Helper()
	c := &talker{t: t, cmd: exec.Command(name, args...)}
	c.cmd.Dir = s.Dir
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stderr = c.cmd.Stdout // OpenSSL tells there of its KeyUpdates
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(2*pushdtest.Timeout, func() { _ = c.cmd.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
	return c
}

// says writes in and waits for out.
func (c *talker) says(in, out string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, in); err != nil {
		c.t.Fatal(err)
	}
	c.hears(out)
}

func (c *talker) hears(out string) {
	c.t.Helper()
	for !strings.Contains(c.got.String(), out) {
		b, err := c.out.ReadByte()
		if err != nil {
			c.t.Fatalf("%s: %v; it has not said %.100q but %.2000q", c.cmd.Path, err, out, c.got.String())
		}
		c.got.WriteByte(b)
	}
	c.got.Reset()
}

func (c *talker) ends(in string) {
	c.t.Helper()
	_, _ = io.WriteString(c.in, in)
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("%s: %v", c.cmd.Path, err)
	}
}
