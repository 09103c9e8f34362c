//go:build linux

package master

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// The test binary is its own child: run with control.RoleEnv it is a small
// worker or broker process that does what the file named in its spec says.

// fakeSpec is the Spec of all fake processes.
type fakeSpec struct {
	Behaviour string // path of a file, read when the process starts; PATH.SLOT goes first
	Dir       string // where it leaves notes
	Mark      string // only there to make two specs differ
}

// behaviour is a list of words, e.g. "deaf stubborn" or "die-after=50ms".
type behaviour map[string]string

func readBehaviour(path string, slot int) behaviour {
	text, err := os.ReadFile(path + "." + strconv.Itoa(slot))
	if err != nil {
		text, _ = os.ReadFile(path)
	}
	b := behaviour{}
	for _, word := range strings.Fields(string(text)) {
		key, value, _ := strings.Cut(word, "=")
		b[key] = value
	}
	return b
}

func (b behaviour) has(word string) bool { _, ok := b[word]; return ok }

type fakeChild struct {
	ctl    *control.Conn
	init   control.Init
	spec   fakeSpec
	does   behaviour
	mu     sync.Mutex
	conns  map[net.Conn]bool
	lns    []net.Listener
	roster control.Roster
	asked  chan control.Message // answer to the broker's question
}

// fakeMain is main of a child.
func fakeMain() {
	raw, _ := syscall.Dup(control.FD) // Open closes the number itself
	ctl, err := control.Open(os.NewFile(control.FD, "control"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	m, _, err := ctl.Receive()
	f := &fakeChild{ctl: ctl, conns: map[net.Conn]bool{}, asked: make(chan control.Message, 1)}
	if err != nil || json.Unmarshal(m.Body, &f.init) != nil || json.Unmarshal(f.init.Spec, &f.spec) != nil {
		fmt.Fprintln(os.Stderr, "bad init", err)
		os.Exit(2)
	}
	if t := f.init.Tenure; t != nil {
		f.note("heard", fmt.Sprintf("%s/%d %v", f.init.Name, f.init.Generation, t.Workers))
	}
	f.does = readBehaviour(f.spec.Behaviour, f.init.Slot)
	switch {
	case f.does.has("panic"):
		panic("planted")
	case f.does.has("exit"):
		os.Exit(3)
	case f.does.has("fail"):
		_ = ctl.Send(control.TypeFailed, 0, control.Failed{Step: "load handlers", Error: "planted: no such handler"})
		os.Exit(1)
	case f.does.has("hang"):
		f.note("hang", strconv.Itoa(os.Getpid()))
		select {}
	case f.does.has("babble"):
		_, _ = syscall.Write(raw, []byte("{garbage"))
		select {}
	}
	f.serve()
}

// listen serves what it has inherited.
func (f *fakeChild) listen() {
	for _, l := range f.init.Listeners {
		if strings.HasPrefix(l.Address, "udp://") {
			continue
		}
		file := os.NewFile(uintptr(l.FD), l.Address)
		ln, err := net.FileListener(file)
		file.Close() // FileListener has duplicated it
		if err != nil {
			_ = f.ctl.Send(control.TypeFailed, 0, control.Failed{Step: "listen", Error: err.Error()})
			os.Exit(1)
		}
		if u, ok := ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		f.lns = append(f.lns, ln)
		go f.accept(ln)
	}
}

func (f *fakeChild) serve() {
	if !f.init.Standby {
		f.listen()
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP) // the kernel sends it when the master is killed
	go func() {
		for range term {
			if !f.does.has("stubborn") {
				f.leave(0)
			}
		}
	}()
	if wait, err := time.ParseDuration(f.does["slow-start"]); err == nil {
		time.Sleep(wait)
	}
	if path := f.does["await"]; path != "" { // it has begun, and is ready when there is a file
		f.note("awaiting", strconv.Itoa(os.Getpid()))
		for _, err := os.Stat(path); err != nil; _, err = os.Stat(path) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if path := f.does["chmod"]; path != "" {
		_ = os.Chmod(path, 0o644)
	}
	_ = f.ctl.Send(control.TypeReady, 0, nil)
	if f.does.has("die-when-ready") {
		os.Exit(4)
	}
	if after, err := time.ParseDuration(f.does["die-after"]); err == nil {
		time.AfterFunc(after, func() { os.Exit(5) })
	}
	for {
		m, files, err := f.ctl.Receive()
		if err != nil {
			f.orphaned()
		}
		f.receive(m, files)
	}
}

// orphaned is what a child does whose master is gone.
func (f *fakeChild) orphaned() {
	f.closeListeners()
	time.Sleep(time.Duration(f.init.DrainMS) * time.Millisecond)
	os.Exit(0)
}

func (f *fakeChild) receive(m control.Message, files []*os.File) {
	switch m.Type {
	case control.TypePing:
		if !f.does.has("deaf") {
			_ = f.ctl.Send(control.TypePong, m.ID, nil)
		}
	case control.TypeStop:
		var s control.Stop
		_ = json.Unmarshal(m.Body, &s)
		go f.stop(s)
	case control.TypeBus:
		var b control.Bus
		_ = json.Unmarshal(m.Body, &b)
		f.note("bus", fmt.Sprintf("%s/%d %s", f.init.Name, f.init.Generation, b.Do))
		if b.Do == control.BusOpen {
			if f.does.has("closed") {
				_ = f.ctl.SendMessage(control.Message{Type: control.TypeAnswer, ID: m.ID, Error: "planted: it stays closed"})
				return
			}
			f.listen()
		}
		_ = f.ctl.Send(control.TypeAnswer, m.ID, nil)
	case control.TypeReopen:
		_ = syscall.Dup3(int(files[0].Fd()), 1, 0)
		_ = syscall.Dup3(int(files[0].Fd()), 2, 0)
		fmt.Fprintln(os.Stderr, "reopened by", os.Getpid())
	case control.TypeRoster:
		f.mu.Lock()
		_ = json.Unmarshal(m.Body, &f.roster)
		f.mu.Unlock()
		f.note("roster", string(m.Body))
		if !f.does.has("no-roster") {
			_ = f.ctl.Send(control.TypeAnswer, m.ID, nil)
		}
	case control.TypeQuery:
		if !f.does.has("deaf") {
			f.query(m)
		}
	case control.TypeImport, control.TypeResume:
		f.note(m.Type, "")
		_ = f.ctl.Send(control.TypeAnswer, m.ID, nil)
	case control.TypeExport:
		f.note(m.Type, "")
		_ = f.ctl.Send(control.TypeAnswer, m.ID, control.Exported{MaxUS: 1500})
	case control.TypeAnswer:
		f.asked <- m
	}
	for _, file := range files {
		file.Close()
	}
}

func (f *fakeChild) query(m control.Message) {
	if f.does.has("mute") {
		return
	}
	var q control.Query
	_ = json.Unmarshal(m.Body, &q)
	f.mu.Lock()
	n := len(f.conns)
	f.mu.Unlock()
	switch q.What {
	case "stats", control.QueryClients:
		_ = f.ctl.Send(control.TypeAnswer, m.ID, map[string]any{"connections": n, "messages_in": 7, "opened": 9})
	case control.QueryServices:
		_ = f.ctl.Send(control.TypeAnswer, m.ID, []control.ServiceState{{Service: "history", Says: "away"}})
	case control.QueryNodes:
		f.note("nodes", "one of a version before would not answer")
	case control.QueryRecords: // each client of one that is "newer" needs version 2
		var r control.Records
		_ = json.Unmarshal(q.Args, &r)
		if r.Connections = n; f.does.has("newer") && r.Version < 2 {
			r.Unreadable = n
		}
		_ = f.ctl.Send(control.TypeAnswer, m.ID, r)
	case "connections":
		var args struct {
			Limit  int
			Cursor string
		}
		_ = json.Unmarshal(q.Args, &args)
		if f.does.has("lonely") {
			_ = f.ctl.SendMessage(control.Message{Type: control.TypeAnswer, ID: m.ID, Error: "planted: the bus is away"})
			return
		}
		from, _ := strconv.Atoi(args.Cursor)
		page := ConnPage{Connections: []json.RawMessage{}, Complete: true}
		for i := from; i < min(from+args.Limit, 250); i++ { // every fake worker has 250
			page.Connections = append(page.Connections, json.RawMessage(fmt.Sprintf(`{"id":"%s/%d-%d"}`, f.init.Name, f.init.Slot, i)))
		}
		if from+args.Limit < 250 {
			page.Cursor = strconv.Itoa(from + args.Limit)
		}
		_ = f.ctl.Send(control.TypeAnswer, m.ID, page)
	}
}

// accept serves clients: "who" tells which process it is, "bus" asks the broker
// process who it is, "status" (broker) asks the master, other lines come back.
func (f *fakeChild) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns[c] = true
		f.mu.Unlock()
		go f.client(c)
	}
}

func (f *fakeChild) client(c net.Conn) {
	defer func() {
		c.Close()
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
	}()
	for s := bufio.NewScanner(c); s.Scan(); {
		reply := s.Text()
		switch reply {
		case "who":
			reply = fmt.Sprintf("%s/%d/%d %d %d", f.init.Name, f.init.Slot, f.init.Generation, os.Getpid(), os.Getuid())
		case "bus":
			reply = f.askBus()
		case "status":
			_ = f.ctl.Send(control.TypeQuery, 1, control.Query{What: "stats"})
			m := <-f.asked
			reply = string(m.Body) + m.Error
		}
		fmt.Fprintln(c, reply)
	}
}

func (f *fakeChild) askBus() string {
	c, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d", f.init.BusFD))
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	fmt.Fprintln(c, "who")
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}

func (f *fakeChild) closeListeners() {
	for _, ln := range f.lns {
		ln.Close()
	}
}

func (f *fakeChild) stop(s control.Stop) {
	f.note("stop", fmt.Sprintf("%s/%d/%d code=%d graceful=%v drain=%d", f.init.Name, f.init.Slot, f.init.Generation, s.Code, s.Graceful, s.DrainMS))
	if f.does.has("stubborn") {
		return
	}
	if d, err := time.ParseDuration(f.does["writes"]); err == nil { // what it leaves to the next one
		time.Sleep(d)
		f.note("written", strconv.Itoa(f.init.Generation))
	}
	f.closeListeners()
	if s.Graceful {
		for f.clients() > 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	f.leave(0)
}

func (f *fakeChild) clients() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func (f *fakeChild) leave(code int) {
	f.mu.Lock() // no client is told anything from here on
	for c := range f.conns {
		_, _ = io.WriteString(c, "bye\n")
	}
	os.Exit(code)
}

// note leaves a line that a test can read.
func (f *fakeChild) note(name, line string) {
	file, err := os.OpenFile(filepath.Join(f.spec.Dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err == nil {
		fmt.Fprintln(file, line)
		file.Close()
	}
}

// fakePlan is `plan`: it writes the file that its argument names. The first
// word of the file may be a planted fault instead.
func fakePlan() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fault, rest, _ := strings.Cut(string(data), " ")
	switch fault {
	case "fail":
		fmt.Fprint(os.Stderr, rest)
		os.Exit(1)
	case "hang":
		select {}
	case "flood":
		for block := make([]byte, 1<<20); err == nil; {
			_, err = syscall.Write(3, block)
		}
	case "panic":
		panic("planted")
	}
	for len(data) > 0 {
		n, err := syscall.Write(3, data)
		if err != nil {
			os.Exit(1)
		}
		data = data[n:]
	}
}
