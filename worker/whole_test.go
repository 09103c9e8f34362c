package worker

import (
	"testing"

	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/record"
)

// TestRecordsMakeSenseAsAWhole: each field of these may be right, and what is
// refused contradicts itself.
func TestRecordsMakeSenseAsAWhole(t *testing.T) {
	l := paper(t)
	at := func(i int, speaks *transport, change func(*Conn)) []byte {
		c := &Conn{loop: l, seat: l.plain.at(l.ports[i], speaks), id: ID{9}}
		if change != nil {
			change(c)
		}
		return c.appendRecord(nil)
	}
	half := func(c *Conn) { // of a frame
		_, _, _, _ = c.input().dec.Next(mask(0x01, []byte("half of it"))[:8], &websocket.Limits{}, false)
		if c.in.dec.Idle() {
			t.Fatal("the decoder has nothing")
		}
	}
	const plain, secure = 0, 5 // of allKinds
	for name, tc := range map[string]struct {
		record []byte
		taken  bool
	}{
		"a WebSocket":                       {at(plain, transportWebSocket, nil), true},
		"a request where WebSockets are":    {at(plain, transportHTTP, nil), true},
		"a handshake behind TLS":            {at(secure, transportTLS, nil), true},
		"half a frame of a WebSocket":       {at(plain, transportWebSocket, half), true},
		"half a frame of a request":         {at(plain, transportHTTP, half), false},
		"half a frame of packets":           {at(2, transportPacket, half), false},
		"nobody":                            {at(plain, transportWebSocket, func(c *Conn) { c.id = ID{} }), false},
		"no port":                           {record.AppendNumber(record.Append(nil, record.ID, make([]byte, 15, 16)[:16]), record.Stage, 1), false},
		"somebody without a port":           {record.AppendNumber(record.Append(nil, record.ID, append([]byte{9}, make([]byte, 15)...)), record.Stage, 1), false},
		"somebody who says nothing":         {record.AppendText(record.Append(nil, record.ID, append([]byte{9}, make([]byte, 15)...)), record.Port, anyWS), false},
		"a handshake where there is no TLS": {at(plain, transportTLS, nil), false},
		"packets where WebSockets are":      {at(plain, transportPacket, nil), false},
	} {
		if _, err := parseRecord(l, tc.record); (err == nil) != tc.taken {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What means nothing to a transport is not set for it.
	a, err := parseRecord(l, at(2, transportPacket, func(c *Conn) { c.set(flagConnected | flagDeflate | flagPinged | flagBody) }))
	if err != nil || a.c.flags != flagConnected {
		t.Errorf("flags %b, %v", a.c.flags, err)
	}
	// Records are read beside the loop, to which its seats belong.
	read := at(plain, transportWebSocket, nil)
	l.plain.seats = nil
	if _, err := parseRecord(l, read); err != nil || len(l.plain.seats) > 0 {
		t.Errorf("a record that was read has taken a seat, or: %v", err)
	}
}

// TestSessionsOfARecordAreBounded: to the byte, as those that are set.
func TestSessionsOfARecordAreBounded(t *testing.T) {
	l := paper(t)
	for size, want := range map[int]bool{maxSession: true, maxSession + 1: false} {
		value := append([]byte("k\x00"), make([]byte, size-1)...)
		b := record.Append(recordOf(l, 1, nil), record.Value, value)
		if _, err := parseRecord(l, b); (err == nil) != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestVersionOfARecord: the lowest that it needs, whatever comes first among the
// kinds; and what a reader cannot read is counted for its version.
func TestVersionOfARecord(t *testing.T) {
	l := paper(t)
	conn := func(id byte, speaks *transport, change func(*Conn)) *Conn {
		c := &Conn{loop: l, seat: l.plain.at(l.ports[0], speaks), id: ID{id, 7: id}}
		if change != nil {
			change(c)
		}
		l.conns.add(c)
		return c
	}
	positions := func(c *Conn) { c.SetPositions(true) }
	session := func(c *Conn) { c.settleSession(paperSession(t)) }
	for c, want := range map[*Conn]byte{
		conn(1, transportWebSocket, nil):                                        1,
		conn(2, transportHTTP, nil):                                             1,
		conn(3, transportWebSocket, positions):                                  3,
		conn(4, transportTLS, nil):                                              5,
		conn(5, transportWebSocket, session):                                    5,
		conn(6, transportWebSocket, func(c *Conn) { positions(c); session(c) }): 5,
	} {
		if got := c.recordVersion(); got != want {
			t.Errorf("connection %d needs version %d, want %d", c.id[0], got, want)
		}
	}
	for version, want := range map[byte]int{0: 6, 1: 4, 2: 4, 3: 3, 4: 3, 5: 0, 255: 0} {
		if got := l.unreadable(version); got != want {
			t.Errorf("a reader of version %d cannot read %d, want %d", version, got, want)
		}
	}
	before := later
	defer func() { later = before }()
	later = []recordKind{{5, func(*Conn) bool { return true }}, {3, func(*Conn) bool { return true }}}
	if got := l.conns.all[0].recordVersion(); got != 5 {
		t.Errorf("of several the highest counts: %d", got)
	}
}
