package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// proxyPage returns the block of docs/proxy.md that is written in lang.
func proxyPage(t *testing.T, lang string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(pushdtest.Root(t), "docs", "proxy.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```" + lang + "\n(.*?)```").FindStringSubmatch(string(page))
	if m == nil {
		t.Fatalf("docs/proxy.md has no block in %s", lang)
	}
	return m[1]
}

// certificate writes a certificate for push.example.com, signed by itself.
func certificate(t *testing.T, dir string) (cert, key, both string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"push.example.com"}, NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	cert, key, both = dir+"/crt.pem", dir+"/key.pem", dir+"/both.pem"
	for file, text := range map[string][]byte{cert: crt, key: k, both: append(crt, k...)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, both
}

// daemon runs a proxy in the foreground until the end of the test, and waits
// until it listens.
func daemon(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		path = "/usr/sbin/" + program
	}
	c := exec.Command(path, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatalf("%v (`make deps` installs it)", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	pushdtest.Eventually(t, program+" listens", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s: %v: %s", program, err, said.String())
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// TestProxies runs the pages of docs/proxy.md as written, but for paths and
// ports: a client behind TLS is served and seen, through a reload too.
func TestProxies(t *testing.T) {
	for _, proxy := range []string{"nginx", "haproxy"} {
		t.Run(proxy, func(t *testing.T) {
			s := pushdtest.Start(t, pushdtest.Options{Config: strings.NewReplacer("127.0.0.1:2346", "127.0.0.1:{{port}}").Replace(proxyPage(t, "toml"))})
			front := pushdtest.FreeAddr(t)
			start := map[string]func(*testing.T, *pushdtest.Server, string){"nginx": startNginx, "haproxy": startHAProxy}[proxy]
			start(t, s, front)
			c := dialTLS(t, front, "127.0.0.7")
			echoes(t, c, "before")
			if got := ipOfOnly(t, s); got != "127.0.0.7" {
				t.Errorf("pushd sees %s, want the client's 127.0.0.7", got)
			}
			s.MustRun("reload")
			echoes(t, c, "after")
			if got := ipOfOnly(t, s); got != "127.0.0.7" {
				t.Errorf("after a reload pushd sees %s", got)
			}
		})
	}
}

func startNginx(t *testing.T, s *pushdtest.Server, front string) {
	dir := t.TempDir()
	cert, key, _ := certificate(t, dir)
	page := strings.NewReplacer("listen 443 ssl", "listen "+front+" ssl", "127.0.0.1:2346", fmt.Sprintf("127.0.0.1:%d", s.Port),
		"/etc/ssl/push.example.com.crt", cert, "/etc/ssl/push.example.com.key", key).Replace(proxyPage(t, "nginx"))
	main := "daemon off;\nmaster_process off;\npid " + dir + "/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		main += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	write(t, dir+"/nginx.conf", main+page+"}\n")
	daemon(t, front, "nginx", "-e", "stderr", "-p", dir, "-c", dir+"/nginx.conf")
}

func startHAProxy(t *testing.T, s *pushdtest.Server, front string) {
	dir := t.TempDir()
	_, _, both := certificate(t, dir)
	write(t, dir+"/haproxy.cfg", strings.NewReplacer("bind :443", "bind "+front, "maxconn 50000", "maxconn 100",
		"127.0.0.1:2346", fmt.Sprintf("127.0.0.1:%d", s.Port), "/etc/haproxy/push.example.com.pem", both).Replace(proxyPage(t, "haproxy")))
	daemon(t, front, "haproxy", "-db", "-f", dir+"/haproxy.cfg")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dialTLS opens a WebSocket through a proxy, from an address of its own.
func dialTLS(t *testing.T, addr, from string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	d := ws.Dialer{
		NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			return d.DialContext(ctx, "tcp", addr)
		},
		TLSConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "push.example.com"},
	}
	conn, _, _, err := d.Dial(ctx, "wss://push.example.com/echo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * pushdtest.Timeout))
	return conn
}

func echoes(t *testing.T, c io.ReadWriter, text string) {
	t.Helper()
	if err := wsutil.WriteClientText(c, []byte(text)); err != nil {
		t.Fatal(err)
	}
	got, err := wsutil.ReadServerText(c)
	if err != nil || string(got) != text {
		t.Fatalf("echo %q, %v, want %q", got, err, text)
	}
}

// ipOfOnly is the address of the only connection that has joined the route.
func ipOfOnly(t *testing.T, s *pushdtest.Server) string {
	t.Helper()
	var answer struct {
		Connections []struct{ IP, Path string }
	}
	if err := json.Unmarshal([]byte(s.MustRun("connections", "--json")), &answer); err != nil {
		t.Fatal(err)
	}
	for _, c := range answer.Connections {
		if c.Path == "/echo" {
			return c.IP
		}
	}
	return fmt.Sprintf("none of %+v", answer.Connections)
}
