package php_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker/handler/script/php"
)

// patience is how long a test waits for PHP.
const patience = 60 * time.Second

// host is what a worker is to a PHP program, written by the contract: it sends
// events and reads orders, one frame after the other.
type host struct {
	t       testing.TB
	cmd     *exec.Cmd
	socket  net.Conn
	out     []byte // written by flush
	in      *script.Reader
	more    []script.Frame // of a list that has come
	log     printed
	batch   uint64
	welcome script.Welcome
	queued  int  // bytes that wait for the client
	stuck   bool // it takes nothing: what it is sent waits
	ended   chan struct{}
}

// printed is the file that a program's output is in: what it has printed before an
// order is there when the order is read, which a pipe would not promise.
type printed string

func (p printed) String() string {
	text, err := os.ReadFile(string(p))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// shim writes the PHP files once per test.
func shim(t testing.TB) string {
	t.Helper()
	first, err := php.Write(t.TempDir())
	must(t, err)
	return first
}

// program writes a PHP program.
func program(t testing.TB, code string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "start.php")
	must(t, os.WriteFile(file, []byte("<?php\n"+code), 0o644))
	return file
}

// serve starts a program as a handler and waits until it is ready. name is that
// of the group, "start" unless the program names one.
func serve(t testing.TB, file, name string) *host {
	t.Helper()
	h := begin(t, file, name)
	f, err := h.in.Next()
	if err != nil || f.Op != script.Ready {
		t.Fatalf("first frame is %v, %v\n%s", f.Op, err, h.log)
	}
	h.welcome, err = script.ParseWelcome(f.Payload)
	must(t, err)
	return h
}

func begin(t testing.TB, file, name string) *host {
	t.Helper()
	return beside(t, file, name, nil)
}

// beside starts a program that is to take the place of another process.
func beside(t testing.TB, file, name string, before *script.Before) *host {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	conn, err := net.FileConn(ours)
	must(t, err)
	ours.Close()
	h := &host{t: t, socket: conn, in: script.NewReader(conn, script.FromHandler), log: printed(filepath.Join(t.TempDir(), "log")), ended: make(chan struct{})}
	h.cmd = exec.Command("php", append(php.Args(shim(t), php.Handler), "-d", "disable_functions="+php.OwnCalls, "-d", "memory_limit=256M", file, "start")...)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive a test that has run out of time
	h.cmd.ExtraFiles = []*os.File{theirs}
	log, err := os.OpenFile(string(h.log), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	h.cmd.Dir = filepath.Dir(file)
	must(t, h.cmd.Start())
	theirs.Close()
	log.Close()
	go func() { h.cmd.Wait(); close(h.ended) }()
	t.Cleanup(func() {
		conn.Close()
		h.cmd.Process.Kill()
		<-h.ended
	})
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	config, _ := json.Marshal(script.Config{Version: 1, Worker: name, Count: 1, Births: 1, MaxFrame: script.MaxPayload, MaxReply: script.MaxPayload, Before: before})
	h.event(script.Frame{Op: script.Setup, Payload: config})
	h.flush()
	return h
}

// write appends to the batch, which goes out in one piece: PHP does what else it has
// to do when all that has come is done.
func (h *host) write(p []byte) { h.out = append(h.out, p...) }

func (h *host) flush() {
	h.t.Helper()
	if len(h.out) == 0 {
		return
	}
	if _, err := h.socket.Write(h.out); err != nil {
		h.t.Fatalf("write to PHP: %v\n%s", err, h.log)
	}
	h.out = nil
}

func (h *host) event(f script.Frame) { h.t.Helper(); h.write(f.Append(nil)) }

// tick ends the batch.
func (h *host) tick() {
	h.t.Helper()
	h.batch++
	h.event(script.Frame{Op: script.Tick, Conn: h.batch})
	h.flush()
}

const head = "GET /chat?token=t1 HTTP/1.1\r\nHost: example.org\r\nOrigin: http://example.org\r\nX-Real-IP: 192.0.2.9\r\nCookie: a=b; c=d%20e\r\n\r\n"

// open tells of a connection, or with Resume of one that was there.
func (h *host) open(op script.Op, id uint64, session string) {
	h.t.Helper()
	h.openAt(op, id, session, "websocket://0.0.0.0:2346", "/chat?token=t1", head)
}

func (h *host) openAt(op script.Op, id uint64, session, local, target, head string) {
	h.t.Helper()
	h.write(script.AppendOpen(nil, op, id, script.Opening{Session: []byte(session), Remote: fmt.Sprintf("192.0.2.1:%d", 40000+id%1000), Local: local, Target: target, Head: []byte(head)}))
}

func (h *host) message(id uint64, data string) {
	h.t.Helper()
	h.event(script.Frame{Op: script.Message, Conn: id, Payload: []byte(data)})
}

func (h *host) closed(id uint64) {
	h.t.Helper()
	h.event(script.Frame{Op: script.Close, Conn: id, Aux: 1000})
}

// next returns the next order as words: "SEND 1 hello".
func (h *host) next() string {
	h.t.Helper()
	h.flush()
	f, err := h.frame()
	if errors.Is(err, io.EOF) {
		return "EOF"
	}
	if err != nil {
		h.t.Fatalf("read from PHP: %v\n%s", err, h.log)
	}
	return words(f)
}

// frame is the next order, one for each connection of a list, but TIMER, an ALARM for
// a look at numbers (see numbersSeen), and FILES.
func (h *host) frame() (script.Frame, error) {
	for {
		if len(h.more) > 0 {
			f := h.more[0]
			h.more = h.more[1:]
			return f, nil
		}
		f, err := h.in.Next()
		switch {
		case err == nil && (f.Op == script.Timer || f.Op == script.Files):
		case err == nil && f.Op == script.Held && f.Conn == 0:
			conns, err := script.ParseHeld(f.Payload)
			if err != nil {
				return f, err
			}
			for i := range conns.Len() {
				h.more = append(h.more, script.Frame{Op: f.Op, Flags: f.Flags, Conn: conns.At(i)})
			}
		default:
			return f, err
		}
	}
}

func words(f script.Frame) string {
	text := string(f.Payload)
	switch f.Op {
	case script.Many:
		ids, data, err := script.ParseMany(f.Payload)
		if err != nil {
			return err.Error()
		}
		text = ""
		for i := range ids.Len() {
			text += fmt.Sprint(ids.At(i), " ")
		}
		text += string(data)
	case script.Publish:
		name, data, err := script.ParseNamed(f.Op, f.Payload)
		if err != nil {
			return err.Error()
		}
		text = string(name) + " " + string(data)
	case script.Poison:
		n, _ := script.ParseCount(f.Op, f.Payload)
		text = fmt.Sprint(n)
	case script.Carry:
		ids, _, err := script.ParseCarry(f.Payload)
		if err != nil {
			return err.Error()
		}
		list := []uint64{}
		for i := range ids.Len() {
			list = append(list, ids.At(i))
		}
		slices.Sort(list)
		text = fmt.Sprint(list)
	case script.Reply:
		text = strings.ReplaceAll(text, "\x00", " ")
	}
	s := f.Op.String()
	if f.Flags != 0 {
		s += fmt.Sprintf("+%d", f.Flags)
	}
	if f.Aux != 0 {
		s += fmt.Sprintf("/%d", f.Aux)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d %s", s, f.Conn, text))
}

// done ends the batch and returns the orders that came before its DONE.
func (h *host) done() []string {
	h.t.Helper()
	h.tick()
	return h.answers()
}

// answers returns the orders that come before the batch's DONE.
func (h *host) answers() (orders []string) {
	h.t.Helper()
	for {
		o := h.next()
		if o == fmt.Sprintf("DONE %d", h.batch) {
			return orders
		}
		if o == "EOF" {
			h.t.Fatalf("PHP has ended after %q\n%s", orders, h.log)
		}
		if h.queue(o) {
			continue
		}
		if n := uint64(0); strings.HasPrefix(o, "ASK_OPENS ") { // it has been told of all
			_, _ = fmt.Sscanf(o, "ASK_OPENS %d", &n)
			h.event(script.Frame{Op: script.Answer, Conn: n, Payload: []byte("{}")})
			continue
		}
		orders = append(orders, o)
	}
}

// numbersSeen has PHP look which connections the program knows by their number, and
// returns what it says then.
func (h *host) numbersSeen() []string {
	h.t.Helper()
	h.event(script.Frame{Op: script.Alarm})
	if orders := h.done(); len(orders) > 0 {
		h.t.Errorf("an alarm: %q", orders)
	}
	orders := h.done() // a look comes behind what it came with
	slices.Sort(orders)
	return orders
}

// queue answers the question how much waits for a client.
func (h *host) queue(order string) bool {
	if size, sent := strings.CutPrefix(order, "SEND 1 "); sent && h.stuck {
		h.queued += len(size)
	}
	var n, conn uint64
	if c, _ := fmt.Sscanf(order, `CALL %d {"what":"queue","connection":%d}`, &n, &conn); c != 2 {
		return false
	}
	h.event(script.Frame{Op: script.Answer, Conn: n, Payload: fmt.Appendf(nil, `{"bytes":%d,"full":%d}`, h.queued, halfQueue)})
	h.flush()
	return true
}

// halfQueue is at how many bytes a client of the tests is full.
const halfQueue = 2 << 20

// want ends the batch and compares all orders of it.
func (h *host) want(want ...string) {
	h.t.Helper()
	if got := h.done(); !slices.Equal(got, want) {
		h.t.Fatalf("orders\n got %q\nwant %q\n%s", got, want, h.log)
	}
}

// stop has the process leave, and returns its last orders and what it carries.
func (h *host) stop(flags byte) (orders []string, carried []byte) {
	h.t.Helper()
	h.event(script.Frame{Op: script.Stop, Flags: flags})
	h.tick()
	for {
		f, err := h.frame()
		if err != nil {
			h.t.Fatalf("read from PHP: %v\n%s", err, h.log)
		}
		switch f.Op {
		case script.Carry:
			carried = append([]byte(nil), f.Payload...)
			continue
		case script.Bye:
			h.socket.Close()
			<-h.ended
			return orders, carried
		}
		if o := words(f); !h.queue(o) {
			orders = append(orders, o)
		}
	}
}

// lastWords are the orders of a process that ends by itself.
func (h *host) lastWords() (orders []string) {
	h.t.Helper()
	for {
		switch o := h.next(); o {
		case "BYE 0":
			return orders
		case "EOF":
			h.t.Fatalf("PHP has ended without a goodbye, after %q\n%s", orders, h.log)
		default:
			orders = append(orders, o)
		}
	}
}

// says waits until words stand in what PHP has printed.
func (h *host) says(words string) {
	h.t.Helper()
	h.flush()
	h.await(fmt.Sprintf("%q is printed", words), func() bool { return strings.Contains(h.log.String(), words) })
}

// waits returns once PHP sleeps.
func (h *host) waits() {
	h.t.Helper()
	h.await("PHP waits", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
		must(h.t, err)
		return bytes.Contains(stat, []byte(") S "))
	})
}

// await looks until it is so.
func (h *host) await(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("never happened: %s\n%s", what, h.log)
		}
	}
}

// plan runs a program for its plan.
func plan(t testing.TB, file string, more ...string) (map[string]any, string) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd := exec.Command("php", append(append(php.Args(shim(t), php.Plan), more...), file, "start")...)
	cmd.ExtraFiles = []*os.File{w}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	w.Close()
	raw, err := io.ReadAll(r)
	must(t, err)
	cmd.Wait()
	var p map[string]any
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatalf("plan is %q: %v\n%s", raw, err, out.String())
	}
	return p, out.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
