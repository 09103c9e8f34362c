package broker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/pushd/pushd/worker/seldom"
)

// maxClients bounds the connections to the embedded server: each worker process
// has one, and in a reload the one beside it.
const maxClients = 2048

// ServerOptions configure the embedded server.
type ServerOptions struct {
	// UIDs may connect, by their peer credentials, besides root and the user
	// of this process.
	UIDs []uint32
	// MaxPending is what may wait for one client, in bytes, before it is cut
	// off and has to reconnect. Default 64 MiB.
	MaxPending int64
	Logger     *slog.Logger // default slog.Default()
}

// Server is a NATS server without any address of its own: clients come through
// the listeners given to Serve, or from the same process.
type Server struct {
	nats *server.Server
	log  *slog.Logger
	uids []uint32
	full seldom.Limit

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[net.Conn]struct{}
	closed    bool
	wg        sync.WaitGroup
}

// NewServer starts a server. It is ready when NewServer returns.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	ns, err := server.NewServer(&server.Options{
		ServerName:            "pushd",
		DontListen:            true,
		NoSigs:                true,
		NoSystemAccount:       true,
		DisableShortFirstPing: true,
		MaxConn:               maxClients,
		MaxPayload:            MaxEnvelope,
		MaxPending:            o.MaxPending,
		WriteDeadline:         writeTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("make embedded broker: %w", err)
	}
	ns.SetLoggerV2(natsLog{o.Logger}, false, false, false)
	ns.Start()
	if !ns.ReadyForConnections(5 * time.Second) {
		ns.Shutdown()
		return nil, errors.New("embedded broker was not ready after 5s")
	}
	return &Server{
		nats:  ns,
		log:   o.Logger,
		uids:  append([]uint32{0, uint32(os.Getuid())}, o.UIDs...),
		conns: map[net.Conn]struct{}{},
	}, nil
}

// Serve accepts clients on ln, a unix listener, until Close, which closes ln
// and makes it return nil.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ln.Close()
	}
	s.listeners = append(s.listeners, ln)
	s.mu.Unlock()
	for pause := time.Duration(0); ; {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(conn)
		case s.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept broker clients: %w", err)
		default: // out of descriptors or memory: it passes
			pause = min(max(2*pause, 10*time.Millisecond), time.Second)
			s.complain("accept broker clients", err)
			time.Sleep(pause)
		}
	}
}

// admit checks who conn is and starts to serve it.
func (s *Server) admit(conn net.Conn) {
	uid, err := peerUID(conn)
	if err == nil && !slices.Contains(s.uids, uid) {
		err = fmt.Errorf("user %d is not allowed", uid)
	}
	if err == nil {
		err = s.join(conn)
	}
	if err != nil {
		conn.Close()
		s.complain("refuse broker client", err)
	}
}

// join pipes conn to the NATS server, which takes no connections but its own.
func (s *Server) join(conn net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if len(s.conns) >= maxClients {
		return fmt.Errorf("there are %d clients already", len(s.conns))
	}
	pipe, err := s.nats.InProcessConn()
	if err != nil {
		return fmt.Errorf("pipe to embedded broker: %w", err)
	}
	s.conns[conn] = struct{}{}
	s.wg.Add(2)
	go s.pump(conn, pipe, conn)
	go s.pump(pipe, conn, conn)
	return nil
}

// pump copies until either end is gone, then closes both.
func (s *Server) pump(dst io.WriteCloser, src io.ReadCloser, client net.Conn) {
	defer s.wg.Done()
	io.Copy(dst, src) // why it ended does not matter: the client reconnects
	dst.Close()
	src.Close()
	s.mu.Lock()
	delete(s.conns, client)
	s.mu.Unlock()
}

// dial connects from this process.
func (s *Server) dial() (net.Conn, error) { return s.nats.InProcessConn() }

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) complain(what string, err error) {
	if s.full.Allow(time.Now()) {
		s.log.Warn(what, "error", err)
	}
}

// Close disconnects everyone and returns when all is gone.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, ln := range s.listeners {
		ln.Close()
	}
	s.mu.Unlock()
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// natsLog passes on what the server says. Its notices are chatter.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l natsLog) Warnf(f string, v ...any)   { l.log.Warn("nats: " + fmt.Sprintf(f, v...)) }
func (l natsLog) Errorf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l natsLog) Fatalf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l natsLog) Debugf(string, ...any)      {}
func (l natsLog) Tracef(string, ...any)      {}
