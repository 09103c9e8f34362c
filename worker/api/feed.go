package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// streamPatience is how long a connection is left unread while the bus is full.
	streamPatience = time.Second
	// firstObject is how long a connection may be there before it has sent one
	// object that was taken.
	firstObject = 10 * time.Second
)

// ServeIngest takes one JSON object a line from each connection of ln, tcp or
// unix, until Close. Objects of one connection are published in order,
// though what the history numbers may arrive behind later ones. Nothing
// is answered but refusals: a line {"error":…,"field":…}.
func (s *Server) ServeIngest(ln net.Listener, o IngestOptions) error {
	if !s.ingest.track(ln) {
		return ln.Close()
	}
	defer s.ingest.untrack(ln)
	f := s.newFeed(o)
	f.door = doorOf(ln)
	s.doors.mu.Lock()
	s.doors.in[f.door] = door{admit: f.admit}
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
	_, carried := conn.(*begunConn)
	p, evicted, ok := in.enter(conn, f.s.o.IngestConnections, carried)
	if evicted != nil {
		f.turnAway(evicted.conn)
	}
	if give := in.giving(); !ok && give != nil { // accepted at the last moment
		carryConn(Carried{Door: f.door}, conn, give)
		conn.Close()
		return
	}
	if !ok {
		f.turnAway(conn)
		return
	}
	go func() {
		f.read(p)
		in.leave(p)
	}()
}

func (f *feed) turnAway(conn net.Conn) {
	f.s.refuse(causeConnections, conn.RemoteAddr())
	complain(conn, &problem{Message: "too many ingest connections"})
	conn.Close()
}

// read serves one connection until it ends, is idle, sends a line that is too
// long or no object, or is given up. What speaks another protocol, such as the
// HTTP of a web page, shows at its first line.
func (f *feed) read(p *place) {
	l := &lines{conn: p.conn, long: &f.s.ingest.long}
	defer l.free()
	for {
		f.s.ingest.setDeadline(p, f.s.o.IngestIdle)
		line, err := l.next()
		give := f.s.ingest.giving()
		switch {
		case errors.Is(err, errLineTooLong), errors.Is(err, errLongLines):
			f.s.refuse(causeSize, p.conn.RemoteAddr())
			complain(p.conn, &problem{Message: err.Error()})
			return
		case err != nil && give != nil:
			carryConn(Carried{Door: f.door, Prefix: l.buf}, p.conn, give)
			return
		case err != nil:
			return
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		cause, err := f.take(line, p.conn.RemoteAddr(), streamPatience, func(err error) { complain(p.conn, err) })
		if err == nil {
			f.s.ingest.prove(p)
		} else if !complain(p.conn, err) || cause == causeSyntax {
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
		_, _ = f.take(bytes.TrimSpace(buf[:n]), from, 0, func(error) {}) // a refusal has been counted and logged
	}
}
