package main_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// deafClient is a WebSocket client that never reads what comes after its
// handshake, and so answers no goodbye.
func deafClient(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, pushdtest.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(pushdtest.Timeout))
	_, err = fmt.Fprintf(c, "GET /echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v %v", r, err)
	}
	return c
}

var cutClients = regexp.MustCompile(`clients that have not answered the goodbye are cut".* clients=(\d+)`)

// TestStopIsBounded whatever the clients do: who never answers is cut a moment
// after the drain, and counted. With PUSHD_TEST_FULL it is 15,000 clients and
// the default drain of 5 s; then stop takes less than 8 s on a quiet machine.
func TestStopIsBounded(t *testing.T) {
	clients, drain := 300, "500ms"
	full := os.Getenv("PUSHD_TEST_FULL") != ""
	if full {
		clients, drain = 15000, "5s"
	}
	s := pushdtest.Start(t, pushdtest.Options{Config: fmt.Sprintf("log_file = \"pushd.log\"\ndrain = %q\n%s", drain, reloadConfig)})
	for range clients {
		deafClient(t, fmt.Sprintf("127.0.0.1:%d", s.Port))
	}
	began := time.Now()
	s.Stop()
	took := time.Since(began)
	t.Logf("stop of %d deaf clients with drain %s took %s", clients, drain, took.Round(time.Millisecond))
	if full && took > 8*time.Second {
		t.Errorf("stop took %s", took)
	}
	log, cut := s.Log(), 0
	for _, m := range cutClients.FindAllStringSubmatch(log, -1) {
		n, _ := strconv.Atoi(m[1])
		cut += n
	}
	if !full && cut != clients || cut == 0 { // with a long drain the first ones have had their 5 s
		t.Errorf("%d clients were counted, of %d", cut, clients)
	}
	if strings.Contains(log, "did not leave in time") {
		t.Error("a process had to be killed")
	}
}
