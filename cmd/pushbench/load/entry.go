package load

import (
	"fmt"

	"github.com/pushd/pushd/cmd/pushbench/client"
)

// entry is what dialects have in common: connections that are not in their channels
// yet, of which the load does not hear before they are.
type entry struct {
	client.Handler                         // the load
	joining        map[*client.Conn]int    // answers awaited
	refused        map[*client.Conn]string // what the server said instead
}

func newEntry() entry {
	return entry{joining: map[*client.Conn]int{}, refused: map[*client.Conn]string{}}
}

// joined notes one of the answers; with the last one the connection is open.
func (e *entry) joined(c *client.Conn) {
	if e.joining[c]--; e.joining[c] == 0 {
		delete(e.joining, c)
		e.Handler.Opened(c)
	}
}

// Closed says of one that was refused what the server said.
func (e *entry) Closed(c *client.Conn, err error) {
	delete(e.joining, c)
	if said, ok := e.refused[c]; ok {
		delete(e.refused, c)
		err = fmt.Errorf("refused: %s", said)
	}
	e.Handler.Closed(c, err)
}
