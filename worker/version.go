package worker

import "fmt"

// RecordVersion is the newest version of connection records that this program
// reads; it reads all below as well. Any goroutine.
//
// A worker writes each record in the lowest version that the connection needs:
// a new kind of connection, or a new state, whose fields an older reader would
// be wrong to skip, raises the version for those that have it and for nobody
// else. So a program moves its plain connections to the one before it.
//
//	1  all that has no entry here
//	2  nothing of a connection: the reader knows that the vector of a batch may
//	   have only what has changed since the batch before
//	3  who waits for a channel's history, or is told positions
//	4  nothing of a connection: the reader knows that handlers may leave
//	   something, in a message of its own
//	5  TLS, and what has not shaken hands yet
//	6  a stream of server-sent events, a poll that waits
//	7  a connection that requests carry, and what carries it
//	8  nothing of a connection: the reader knows of questions that the old worker
//	   passes on, and answers with a message of its own that it waits for them
const RecordVersion = 8

// later are the kinds that came after version 1, see RecordVersion.
var later = []recordKind{{3, (*Conn).recalls}, {5, (*Conn).underTLS}, {6, (*Conn).streams}, {7, (*Conn).carries}}

// recordKind is what makes a record need a version.
type recordKind struct {
	version byte
	is      func(*Conn) bool
}

// recordVersion returns the version of the record of c.
func (c *Conn) recordVersion() byte {
	v := byte(1)
	for _, k := range later {
		if k.version > v && k.is(c) {
			v = k.version
		}
	}
	return v
}

// unreadable counts the connections whose records a reader of that version
// cannot read. It runs on the loop.
func (l *loop) unreadable(version byte) (n int) {
	if len(later) == 0 && version > 0 {
		return 0
	}
	for _, c := range l.conns.all {
		if c.recordVersion() > version {
			n++
		}
	}
	return n
}

// readsAll checks the hello of a new worker: whether it reads the records of all
// that is connected. Nothing has been touched yet.
func (l *loop) readsAll(hello []byte) (version byte, err error) {
	if len(hello) != 1 || hello[0] < 1 {
		return 0, fmt.Errorf("it says that it reads connection records up to version %v", hello)
	}
	n, all := 0, 0
	if err := l.do(func() { n, all = l.unreadable(hello[0]), l.conns.len() }); err != nil {
		return 0, err
	}
	if n > 0 {
		return 0, fmt.Errorf("it reads connection records up to version %d, and %d of %d connections need a later one", hello[0], n, all)
	}
	return hello[0], nil
}
