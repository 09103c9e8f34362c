package api

import (
	"net"
	"net/netip"
	"time"
)

// place is what one ingest connection takes up. It is guarded by ingest.mu.
type place struct {
	conn   net.Conn
	peer   netip.Addr // its address, the /64 of IPv6; zero = on a unix socket
	since  time.Time
	proven bool // an object of it was taken, here or in the process before
}

// enter gives conn a place. Who has sent nothing yet that was taken gives way
// when all places are, or when one address has more than its share: the oldest
// first. So silence keeps nobody out. evicted has to be told and closed.
func (in *ingest) enter(conn net.Conn, limit int, proven bool) (p, evicted *place, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, nil, false
	}
	p = &place{conn: conn, peer: peerOf(conn.RemoteAddr()), since: time.Now(), proven: proven}
	share := limit - limit/10 // some are left for the others
	switch {
	case p.peer.IsValid() && in.peers[p.peer] >= share:
		evicted = in.oldestUnproven(func(o *place) bool { return o.peer == p.peer })
	case len(in.places) >= limit:
		evicted = in.oldestUnproven(func(*place) bool { return true })
	default:
		ok = true
	}
	if evicted != nil {
		in.vacate(evicted)
		ok = true
	}
	if ok {
		in.places[p] = struct{}{}
		in.peers[p.peer]++
		in.open[conn] = struct{}{}
		in.wg.Add(1)
	}
	return p, evicted, ok
}

func (in *ingest) oldestUnproven(of func(*place) bool) (oldest *place) {
	for p := range in.places {
		if !p.proven && of(p) && (oldest == nil || p.since.Before(oldest.since)) {
			oldest = p
		}
	}
	return oldest
}

// vacate takes the place back; in.mu is held. It may have been taken already.
func (in *ingest) vacate(p *place) {
	if _, ok := in.places[p]; !ok {
		return
	}
	delete(in.places, p)
	if in.peers[p.peer]--; in.peers[p.peer] == 0 {
		delete(in.peers, p.peer)
	}
}

// leave ends the connection and gives its place back.
func (in *ingest) leave(p *place) {
	in.mu.Lock()
	in.vacate(p)
	in.mu.Unlock()
	in.untrack(p.conn)
}

// prove notes that an object was taken.
func (in *ingest) prove(p *place) {
	in.mu.Lock()
	p.proven = true
	in.mu.Unlock()
}

// setDeadline bounds the next read: by idle or, before anything was taken, by
// firstObject after the connection came. When connections are given up there is
// no next read.
func (in *ingest) setDeadline(p *place, idle time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	end := time.Now().Add(idle)
	if first := p.since.Add(firstObject); !p.proven && first.Before(end) {
		end = first
	}
	if in.give != nil {
		end = time.Unix(1, 0)
	}
	_ = p.conn.SetReadDeadline(end)
}

// peerOf is whose share of the places a connection counts for.
func peerOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		net64, _ := ip.Prefix(64) // any address has one
		return net64.Addr()
	}
	return ip
}
