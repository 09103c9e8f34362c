package master

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// server answers commands on the control socket, each client on a goroutine.
type server struct {
	m *master

	mu      sync.Mutex
	ln      *net.UnixListener
	clients map[*talk]bool // nil = closed
	still   *stand         // of the goroutine that accepts; not nil = all stand still or are about to
	busy    sync.WaitGroup
}

// talk is the conversation with one client. It belongs to its goroutine, but
// for what stands under "server.mu".
type talk struct {
	*net.UnixConn
	begun  []byte        // read, not worked on: valid while it stands
	reload *waiter       // the reload that the client waits for, nil = none
	halt   chan struct{} // holds a value when a standstill begins

	// server.mu
	still *stand
}

func newTalk(c *net.UnixConn) *talk { return &talk{UnixConn: c, halt: make(chan struct{}, 1)} }

// listenControl opens the control socket: mode 0660, for root, the master's
// user and members of the runtime directory's group.
func (m *master) listenControl() (*net.UnixListener, error) {
	path := filepath.Join(m.o.RuntimeDir, controlSock)
	_ = m.dir.Remove(controlSock) // ours alone: the lock is held
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, explainBind("unix://"+path, endpoint{"unix", path}, err)
	}
	if err := m.dir.openFor(controlSock, 0o660); err != nil {
		ln.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return ln, nil
}

// keepControl makes the control socket anew if its file is gone, since nobody could
// give a command any more. It runs on Run's goroutine, on which no master is
// replaced meanwhile.
func (m *master) keepControl() {
	if at := (endpoint{"unix", m.dir.Place(controlSock)}); !at.lost() {
		m.mute = false
		return
	}
	ln, err := m.listenControl()
	if err == nil {
		m.srv.renew(ln)
		m.log.Warn("the control socket was gone and is made anew", "in", m.o.RuntimeDir)
	} else if !m.mute { // once
		m.mute = true
		m.log.Error("the control socket is gone, and so is all that commands could do: only signals are heeded", "error", err)
	}
}

func newServer(m *master, ln *net.UnixListener) *server {
	return &server{m: m, ln: ln, clients: map[*talk]bool{}}
}

// serve accepts until close.
func (s *server) serve() {
	for {
		ln := s.listener()
		c, err := ln.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed) && ln != s.listener(): // there is another
			continue
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.accepterStands()
			continue
		case err != nil: // e.g. out of descriptors
			s.m.log.Warn("command not accepted", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.receive(c)
	}
}

// receive begins the conversation with a new client.
func (s *server) receive(c *net.UnixConn) {
	t := newTalk(c)
	if !s.enter(t) {
		t.say(answer{Done: true, Error: fmt.Sprintf("%d commands run already: try again", clientsMax)})
		c.Close()
		return
	}
	go s.welcome(t)
}

func (s *server) listener() *net.UnixListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ln
}

// renew makes s accept from ln, which has the name that its socket has lost. Who waits
// at that is accepted first: to close it would cut them.
func (s *server) renew(ln *net.UnixListener) {
	s.mu.Lock()
	old := s.ln
	s.ln = ln
	s.mu.Unlock()
	for _, c := range acceptWaiting(old) {
		s.receive(c)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
}

// welcome talks with a new client.
func (s *server) welcome(t *talk) {
	defer s.exit(t)
	if err := s.admit(t.UnixConn); err != nil {
		s.m.log.Warn("command refused", "error", err)
		t.say(answer{Done: true, Error: err.Error()})
		return
	}
	s.converse(t)
}

func (s *server) enter(t *talk) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == nil || len(s.clients) >= clientsMax {
		return false
	}
	s.clients[t] = true
	s.busy.Add(1)
	return true
}

func (s *server) exit(t *talk) {
	t.Close()
	s.mu.Lock()
	delete(s.clients, t)
	if t.still != nil { // nobody needs to wait for it
		close(t.still.here)
		t.still = nil
	}
	s.mu.Unlock()
	s.busy.Done()
}

// close ends all conversations and removes the socket.
func (s *server) close() {
	s.ln.Close()
	s.mu.Lock()
	for t := range s.clients {
		t.Close()
	}
	s.clients = nil
	s.mu.Unlock()
	s.busy.Wait()
}

// converse answers one client until it leaves, is late or talks nonsense.
func (s *server) converse(t *talk) {
	in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(t.begun), t), max(4<<10, len(t.begun)))
	var line []byte // begun
	for {
		s.setDeadline(t)
		part, err := readLine(in, requestMax)
		line = append(line, part...)
		if errors.Is(err, os.ErrDeadlineExceeded) && s.standing(t) {
			t.begun = line
			s.stand(t)
			continue
		}
		if errors.Is(err, errLineTooLong) {
			t.say(answer{Done: true, Error: err.Error()})
		}
		if err != nil {
			return
		}
		req, err := parseRequest(line)
		line = nil
		if err != nil {
			if !t.say(answer{Done: true, Error: err.Error()}) {
				return
			}
			continue
		}
		ahead, _ := in.Peek(in.Buffered())
		t.begun = bytes.Clone(ahead)
		if !s.handle(t, req) {
			return
		}
	}
}

// admit checks who connected, beside what the socket's mode does.
func (s *server) admit(c *net.UnixConn) error {
	uid, gid, err := peerOf(c)
	if err != nil {
		return err
	}
	if uid == 0 || int(uid) == os.Geteuid() {
		return nil
	}
	owners := s.m.dir.group
	if gid == owners {
		return nil
	}
	if u, err := user.LookupId(strconv.Itoa(int(uid))); err == nil {
		groups, _ := u.GroupIds()
		if slices.Contains(groups, strconv.Itoa(int(owners))) {
			return nil
		}
	}
	return fmt.Errorf("user %d may not control this pushd: run as root or as a member of group %d", uid, owners)
}

var errLineTooLong = fmt.Errorf("request exceeds %d bytes", requestMax)

// readLine returns the next line without its end; with an error, what there is
// of one.
func readLine(in *bufio.Reader, max int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > max {
			return nil, errLineTooLong
		}
		if err == nil {
			return line[:len(line)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// parseRequest reads a line from outside.
func parseRequest(line []byte) (request, error) {
	var req request
	if err := unmarshalStrict(line, &req); err != nil {
		return req, fmt.Errorf("request is not one JSON object as documented: %w", err)
	}
	if req.Version < 1 || req.Version > wireVersion {
		return req, fmt.Errorf("request has version %d, this master knows %d: use restart after an upgrade", req.Version, wireVersion)
	}
	return req, nil
}

// unmarshalStrict is json.Unmarshal that refuses unknown fields.
func unmarshalStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the object")
	}
	return nil
}

// say writes one answer; false means that the client is gone or too slow.
func (t *talk) say(a answer) bool {
	data, err := json.Marshal(a)
	if err != nil {
		data, _ = json.Marshal(answer{Done: true, Error: "encode answer: " + err.Error()})
	}
	_ = t.SetWriteDeadline(time.Now().Add(answerBound))
	_, err = t.Write(append(data, '\n'))
	return err == nil
}
