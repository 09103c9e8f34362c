package api

import (
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
	f.door = doorOf(ln)
	s.doors.mu.Lock()
	s.doors.admit[f.door] = f.admit
	s.doors.mu.Unlock()
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
	if give := in.giving(); !room && give != nil { // accepted at the last moment
		carryConn(f.door, conn, nil, give)
		conn.Close()
		return
	}
	if !room {
		f.s.refuse(causeConnections, conn.RemoteAddr())
		complain(conn, &problem{Message: "too many ingest connections"})
		conn.Close()
		return
	}
	go func() {
		f.read(conn)
		in.mu.Lock()
		in.conns--
		in.mu.Unlock()
		in.untrack(conn)
	}()
}

// read serves one connection until it ends, is idle, sends a giant line, or is
// given up.
func (f *feed) read(conn net.Conn) {
	l := &lines{conn: conn}
	for {
		f.s.ingest.setDeadline(conn, f.s.o.IngestIdle)
		line, err := l.next()
		give := f.s.ingest.giving()
		switch {
		case errors.Is(err, errLineTooLong):
			f.s.refuse(causeSize, conn.RemoteAddr())
			complain(conn, &problem{Message: errLineTooLong.Error()})
			return
		case err != nil && give != nil:
			carryConn(f.door, conn, l.buf, give)
			return
		case err != nil:
			return
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := f.take(line, conn.RemoteAddr(), streamPatience); err != nil && !complain(conn, err) {
			return
		}
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
		case err == nil: // also at the moment of the end: nobody else gets it
		case s.ingest.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read ingest datagrams: %w", err)
		default: // e.g. a port unreachable that an earlier sender caused
			continue
		}
		// parse copies what it keeps: buf is read into again.
		f.take(bytes.TrimSpace(buf[:n]), from, 0) // a refusal has been counted and logged
	}
}
