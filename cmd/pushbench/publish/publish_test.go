package publish

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAPI(t *testing.T) {
	var got, auth string
	status, answer := http.StatusOK, `{"reached":1,"complete":true}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, auth = r.Method+" "+r.URL.Path+" "+string(body), r.Header.Get("Authorization")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	p, err := Open(server.URL+"/", "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if complete, err := p.Publish("c", []byte("d")); err != nil || !complete {
		t.Fatalf("%v, %v", complete, err)
	}
	if want := `POST /v1/publish {"channel":"c","data":"d"}`; got != want || auth != "Bearer secret" {
		t.Fatalf("%q with %q, want %q", got, auth, want)
	}
	answer = `{"reached":1,"complete":false}`
	if complete, err := p.Publish("c", []byte("d")); err != nil || complete {
		t.Fatalf("incomplete: %v, %v", complete, err)
	}
	status, answer = http.StatusServiceUnavailable, `{"error":"broker away"}`
	if _, err := p.Publish("c", []byte("d")); err == nil || !strings.Contains(err.Error(), "broker away") || strings.Contains(err.Error(), "secret") {
		t.Fatalf("refused: %v", err)
	}
}

// TestOthers: what the back ends of other servers send, and how a refusal is told.
func TestOthers(t *testing.T) {
	var got string
	status, answer := http.StatusOK, `{"result":{}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.String() + " " + r.Header.Get("X-API-Key") + " " + string(body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	for want, p := range map[string]Publisher{
		`POST /api/publish k {"channel":"c","data":"d"}`: OpenCentrifugo(server.URL+"/", "k"),
		`POST /pub?room=c  d`:                            OpenNchan(server.URL + "/pub?room=c"),
	} {
		status = http.StatusAccepted
		if complete, err := p.Publish("c", []byte("d")); err != nil || !complete || got != want {
			t.Errorf("%v, %v, %q, want %q", complete, err, got, want)
		}
		status = http.StatusForbidden
		if _, err := p.Publish("c", []byte("d")); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("refused: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	status, answer = http.StatusOK, `{"error":{"code":102,"message":"unknown channel"}}`
	if _, err := OpenCentrifugo(server.URL, "k").Publish("c", nil); err == nil || !strings.Contains(err.Error(), "unknown channel") {
		t.Errorf("an error in a 200: %v", err)
	}
}

func TestIngest(t *testing.T) {
	const want = `{"key":"k","channel":"c","data":"d"}`
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	publishTo(t, "udp://"+udp.LocalAddr().String())
	_ = udp.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 1000)
	if n, _, err := udp.ReadFrom(b); err != nil || strings.TrimSpace(string(b[:n])) != want {
		t.Fatalf("udp: %q, %v", b[:n], err)
	}

	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	publishTo(t, "tcp://"+tcp.Addr().String())
	c, err := tcp.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != want+"\n" {
		t.Fatalf("tcp: %q, %v", line, err)
	}
}

func publishTo(t *testing.T, address string) {
	t.Helper()
	p, err := Open(address, "k")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if _, err := p.Publish("c", []byte("d")); err != nil {
		t.Fatal(err)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"https://127.0.0.1", "127.0.0.1:80", "://", "tcp://127.0.0.1:1"} {
		if p, err := Open(bad, ""); err == nil {
			_ = p.Close()
			t.Errorf("%q was taken", bad)
		}
	}
}
