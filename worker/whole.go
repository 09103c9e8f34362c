package worker

import "github.com/pushd/pushd/protocol/websocket"

// A record comes from a worker of another version, or from one that somebody
// has taken over: each field may be right and the whole make no sense. What it
// says is checked here before anything acts on it, so that no record ends the
// process that reads it, nor goes round its limits.

// stageFlags are the flags that a connection can have at each stage; others
// mean nothing there.
var stageFlags = [...]flags{
	stageHTTP:      flagPaused | flagBody | flagHeader,
	stageWebSocket: flagConnected | flagPaused | flagPinged | flagDeflate | flagFull,
	stagePacket:    flagConnected | flagPaused | flagFull | flagHeader,
}

// check refuses a record that is in itself a contradiction. It runs on any
// goroutine.
func (a *arrival) check() error {
	c := a.c
	if c.id == (ID{}) || a.port == "" || int(c.stage) >= len(stageFlags) {
		return errRecord
	}
	// One whose address says nothing here finds no listener, so it is closed.
	at, err := parseListen(a.port)
	if err == nil && (at.udp || (at.packet != nil) != (c.stage == stagePacket)) {
		return errRecord
	}
	c.flags &= stageFlags[c.stage]
	if c.has(flagDeflate) && (c.bits < websocket.MinBits || c.bits > websocket.MaxBits) {
		return errRecord
	}
	if c.stage == stageHTTP && (len(a.channels) > 0 || a.uid != "") {
		return errRecord
	}
	if c.in != nil && !c.in.dec.Idle() && c.stage != stageWebSocket {
		return errRecord
	}
	if len(a.texts) > 0 {
		c.extra().texts = texts(a.texts)
		if c.more.texts.size(fieldValue) > maxSession {
			return errRecord
		}
	}
	return nil
}

// bound holds what has arrived unfinished to the limits of this process, which
// may be tighter than those of the other one. It runs on the loop.
func (l *loop) bound(c *Conn) {
	if c.in == nil {
		return
	}
	limits := l.frameLimits()
	if err := c.in.dec.Check(&limits); err != nil {
		e := err.(*websocket.CloseError)
		l.fail(c, e.Code, e)
	}
}
