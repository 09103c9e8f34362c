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
	"syscall"
	"time"
)

// server answers commands on the control socket, each client on a goroutine.
type server struct {
	m  *master
	ln *net.UnixListener

	mu      sync.Mutex
	clients map[*net.UnixConn]bool
	busy    sync.WaitGroup
}

// listenControl opens the control socket: mode 0660, for root, the master's
// user and members of the runtime directory's group.
func (m *master) listenControl() (*server, error) {
	path := filepath.Join(m.o.RuntimeDir, controlSock)
	_ = os.Remove(path) // ours alone: the lock is held
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, explainBind("unix://"+path, endpoint{"unix", path}, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return &server{m: m, ln: ln, clients: map[*net.UnixConn]bool{}}, nil
}

// serve accepts until close.
func (s *server) serve() {
	for {
		c, err := s.ln.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // e.g. out of descriptors
			s.m.log.Warn("command not accepted", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if !s.enter(c) {
			say(c, answer{Done: true, Error: fmt.Sprintf("%d commands run already: try again", clientsMax)})
			c.Close()
			continue
		}
		go func() {
			defer s.exit(c)
			s.converse(c)
		}()
	}
}

func (s *server) enter(c *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == nil || len(s.clients) >= clientsMax {
		return false
	}
	s.clients[c] = true
	s.busy.Add(1)
	return true
}

func (s *server) exit(c *net.UnixConn) {
	c.Close()
	s.mu.Lock()
	delete(s.clients, c)
	s.mu.Unlock()
	s.busy.Done()
}

// close ends all conversations and removes the socket.
func (s *server) close() {
	s.ln.Close()
	s.mu.Lock()
	for c := range s.clients {
		c.Close()
	}
	s.clients = nil
	s.mu.Unlock()
	s.busy.Wait()
}

// converse answers one client until it leaves, is late or talks nonsense.
func (s *server) converse(c *net.UnixConn) {
	if err := s.admit(c); err != nil {
		s.m.log.Warn("command refused", "error", err)
		say(c, answer{Done: true, Error: err.Error()})
		return
	}
	in := bufio.NewReaderSize(c, 4<<10)
	for {
		_ = c.SetReadDeadline(time.Now().Add(requestBound))
		line, err := readLine(in, requestMax)
		if errors.Is(err, errLineTooLong) {
			say(c, answer{Done: true, Error: err.Error()})
		}
		if err != nil {
			return
		}
		req, err := parseRequest(line)
		if err != nil {
			if !say(c, answer{Done: true, Error: err.Error()}) {
				return
			}
			continue
		}
		if !s.handle(c, req) {
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
	var dir syscall.Stat_t
	if err := syscall.Stat(s.m.o.RuntimeDir, &dir); err != nil {
		return fmt.Errorf("check the client's group: %w", err)
	}
	if gid == dir.Gid {
		return nil
	}
	if u, err := user.LookupId(strconv.Itoa(int(uid))); err == nil {
		groups, _ := u.GroupIds()
		if slices.Contains(groups, strconv.Itoa(int(dir.Gid))) {
			return nil
		}
	}
	return fmt.Errorf("user %d may not control this pushd: run as root or as a member of group %d", uid, dir.Gid)
}

var errLineTooLong = fmt.Errorf("request exceeds %d bytes", requestMax)

// readLine returns the next line without its end. It is valid until the next call.
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
			return nil, err
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
func say(c *net.UnixConn, a answer) bool {
	data, err := json.Marshal(a)
	if err != nil {
		data, _ = json.Marshal(answer{Done: true, Error: "encode answer: " + err.Error()})
	}
	_ = c.SetWriteDeadline(time.Now().Add(answerBound))
	_, err = c.Write(append(data, '\n'))
	return err == nil
}
