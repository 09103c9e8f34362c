package script

import (
	"encoding/json"
	"fmt"
)

// RunEnv is the variable by which a program knows, before it has read anything, which of its
// runs this is. What it empties for a start, as a table of who is online, is for RunFirst alone.
const RunEnv = "STARTED_BY_PUSHD"

// What RunEnv says.
const (
	RunLook  = "look"  // it is asked what it would listen on, and ends
	RunFirst = "first" // the first process of a start: number 0 of its group, before any client
	RunNext  = "next"  // all others: those beside it, and those that take the place of another
)

// Config is what a worker says first, as JSON in a Setup frame.
type Config struct {
	Version    int    `json:"version"`     // of the wire that the worker speaks, Version
	Worker     string `json:"worker"`      // name of the group
	Slot       int    `json:"slot"`        // of the worker process, from 0
	Count      int    `json:"count"`       // of worker processes in the group, 0 = not known
	Generation int    `json:"generation"`  // of the worker process
	Births     int    `json:"births"`      // which handler process of this worker process it is, from 1
	MaxFrame   int    `json:"max_frame"`   // bytes of the longest payload that will come, but CARRIED
	MaxReply   int    `json:"max_reply"`   // bytes of the longest payload that is taken, but CARRY
	CallbackMS int64  `json:"callback_ms"` // how long a batch may take
	Memory     int64  `json:"memory"`      // bytes; 0 = no limit
	Watch      bool   `json:"watch"`       // a change of a file replaces the process
	Lost       bool   `json:"lost"`        // the process before was killed: what it has not kept with the worker is gone

	Before *Before `json:"before,omitempty"` // the process that serves until this one is ready; nil = none
}

// Before is the process whose place another is to take. One that could not serve with
// what has become of these files ends before it is ready, and says why.
type Before struct {
	Files []string `json:"files"` // what it has loaded
	Since int64    `json:"since"` // when it was started, in seconds since 1970
}

// Welcome is what a handler process says when it can take events, as JSON in a
// Ready frame.
type Welcome struct {
	Version int      `json:"version"`
	Wants   []string `json:"wants,omitempty"` // of Wants
	Title   string   `json:"title,omitempty"` // for logs and `status`: "chat.php"
	Files   []string `json:"files,omitempty"` // what it has loaded, for `watch` and Before
}

// What a program may want to be told beside messages.
const (
	WantOpen      = "open"      // of each connection at once; else with its first message
	WantLater     = "later"     // with WantOpen: of connections that were there before it, by and by
	WantClose     = "close"     // of the end of connections that it was not told of; those that it was it hears in any case
	WantFull      = "full"      // FULL and DRAIN
	WantHandshake = "handshake" // before the answer to it
	WantHead      = "head"      // the head of the handshake is kept with each connection, for RESUME and a late OPEN
	WantRequest   = "request"   // plain HTTP requests; else they are answered with 426
	WantLeaving   = "leaving"   // Leaving, before clients are sent away; what they send from then on is not read
	WantReload    = "reload"    // to stay in a reload that would replace only this process: it is told by Reload
)

// ParseWelcome reads the payload of Ready. A version that is not spoken here is
// an error.
func ParseWelcome(p []byte) (w Welcome, err error) {
	if err := json.Unmarshal(p, &w); err != nil {
		return w, fmt.Errorf("READY: %w: %w", ErrPayload, err)
	}
	if w.Version < 1 || w.Version > Version {
		return w, fmt.Errorf("READY: it speaks version %d of the script protocol, this pushd up to %d", w.Version, Version)
	}
	return w, nil
}
