package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// streamPatience is how long a connection is left unread while the bus is full.
const streamPatience = time.Second

// ServeIngest takes one JSON object a line from each connection of ln, tcp or
// unix, until Close. Objects of one connection are published in order. Nothing
// is answered but refusals: a line {"error":…,"field":…}.
func (s *Server) ServeIngest(ln net.Listener, o IngestOptions) error {
	if !s.ingest.track(ln) {
		return ln.Close()
	}
	defer s.ingest.untrack(ln)
	f := s.newFeed(o)
	for pause := time.Duration(0); ; {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			f.admit(conn)
		case s.ingest.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept ingest connections: %w", err)
		default: // out of descriptors or memory: it passes
			pause = min(max(2*pause, 10*time.Millisecond), time.Second)
			time.Sleep(pause)
		}
	}
}

// admit starts to serve conn if there is room.
func (f *feed) admit(conn net.Conn) {
	in := &f.s.ingest
	in.mu.Lock()
	room := in.conns < f.s.o.IngestConnections && !in.closed
	if room {
		in.conns++
		in.open[conn] = struct{}{}
		in.wg.Add(1)
	}
	in.mu.Unlock()
	if !room {
		f.s.refuse(causeConnections, conn.RemoteAddr())
		complain(conn, &problem{Message: "too many ingest connections"})
		conn.Close()
		return
	}
	go func() {
		defer in.wg.Done()
		f.read(conn)
		in.untrack(conn)
		in.mu.Lock()
		in.conns--
		in.mu.Unlock()
	}()
}

// read serves one connection until it ends, is idle, or sends a giant line.
func (f *feed) read(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, 4096), maxBody+2) // the line and its end
	for {
		conn.SetReadDeadline(time.Now().Add(f.s.o.IngestIdle))
		if !lines.Scan() {
			break
		}
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if err := f.take(line, conn.RemoteAddr(), streamPatience); err != nil && !complain(conn, err) {
			return
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		f.s.refuse(causeSize, conn.RemoteAddr())
		complain(conn, &problem{Message: "line is over 1 MiB"})
	}
}

// complain writes an error line; a peer that does not read it is not waited for
// longer than a second.
func complain(conn net.Conn, err error) bool {
	line, err := json.Marshal(asProblem(err))
	if err != nil {
		return false
	}
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, err = conn.Write(append(line, '\n'))
	return err == nil
}

// ServeIngestPackets takes one JSON object from each datagram, until Close.
// Nothing is answered.
func (s *Server) ServeIngestPackets(pc net.PacketConn, o IngestOptions) error {
	if !s.ingest.track(pc) {
		return pc.Close()
	}
	defer s.ingest.untrack(pc)
	f := s.newFeed(o)
	buf := make([]byte, 64<<10) // no datagram is longer
	for {
		n, from, err := pc.ReadFrom(buf)
		switch {
		case s.ingest.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read ingest datagrams: %w", err)
		case err != nil: // e.g. a port unreachable that an earlier sender caused
			continue
		}
		// parse copies what it keeps: buf is read into again.
		f.take(bytes.TrimSpace(buf[:n]), from, 0) // a refusal has been counted and logged
	}
}
