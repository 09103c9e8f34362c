package main_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// leapSource is what the standard library's package time gets besides: by how many
// seconds the wall clock is off, from a page of memory that the test writes.
const leapSource = `package time

import (
	"syscall"
	"unsafe"
)

var off *int64

func init() {
	name, _ := syscall.Getenv("PUSHD_TEST_LEAP")
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	p, _, e := syscall.Syscall6(syscall.SYS_MMAP, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED, uintptr(fd), 0)
	syscall.Close(fd)
	if e == 0 {
		off = *(**int64)(unsafe.Pointer(&p))
	}
}

func wallOff() int64 {
	if off == nil {
		return 0
	}
	return *off
}
`

// leaping returns the flags of a build in which time.Now's wall clock can be set, and
// its monotonic one cannot.
func leaping(t *testing.T) (flags []string) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(lib, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), reads) != 1 {
		t.Fatal("this release of Go reads the clock in another way: the test must follow it")
	}
	dir := t.TempDir()
	changed, added := filepath.Join(dir, "time.go"), filepath.Join(dir, "leap.go")
	overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(lib, "time.go"): changed, filepath.Join(lib, "leap.go"): added}})
	for file, text := range map[string]string{
		changed: strings.Replace(string(source), reads, reads+"\tsec += wallOff()\n", 1), added: leapSource, filepath.Join(dir, "overlay.json"): string(overlay),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"-overlay", filepath.Join(dir, "overlay.json")}
}

// TestClockLeaps: the wall clock is set by hours and days, forwards and back, under the
// server and over reloads, its program's included. Nobody is closed, nothing is lost,
// and what is said once is said once.
func TestClockLeaps(t *testing.T) {
	if !full() {
		t.Skip("builds the standard library anew: PUSHD_TEST_FULL=1")
	}
	page := filepath.Join(t.TempDir(), "leap")
	f, err := os.Create(page)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	leap := func(d time.Duration) {
		if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(d/time.Second)), 0); err != nil {
			t.Fatal(err)
		}
	}
	leap(0)
	const day = 24 * time.Hour
	s := pushdtest.Start(t, pushdtest.Options{Flags: leaping(t), Env: []string{"PUSHD_TEST_LEAP=" + page}, Config: `
[history]
store = "disk"
[[channel]]
match = "room"
history = 1000
age = "30m"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/listen" = { handler = "notify", options = { anonymous = true, channels = ["room"] } }
`})
	c := s.Dial("/listen")
	n := 0
	check := func(when string) {
		t.Helper()
		n++
		text := fmt.Sprint("message ", n, ".")
		for range 2 {
			if status, answer := s.Post("/v1/publish", map[string]any{"channel": "room", "data": text, "idempotency_key": text}); status != 200 {
				t.Fatalf("%s: publish: %d %v", when, status, answer)
			}
		}
		if status, answer := s.Post("/v1/publish", map[string]any{"channel": "room", "data": "again", "idempotency_key": "message 1."}); status != 200 || n > 1 && answer["repeated"] != true {
			t.Errorf("%s: the first message's key is forgotten: %d %v", when, status, answer)
		}
		for _, payload := c.Read(); !strings.Contains(string(payload), text); _, payload = c.Read() {
			t.Errorf("%s: the client got %s before %s", when, payload, text)
		}
		_, answer := s.Do(http.MethodGet, "/v1/history?channel=room", nil)
		if list, _ := answer["messages"].([]any); len(list) != n {
			t.Errorf("%s: %d of %d messages are kept: %v", when, len(list), n, answer)
		}
	}
	check("before")
	for _, d := range []time.Duration{time.Hour, 0, -time.Hour, 0, 30 * day, -day, 0, day, 0} {
		leap(d)
		check(fmt.Sprint("at ", d))
		s.MustRun("reload")
		check(fmt.Sprint("at ", d, ", reloaded"))
	}
}
