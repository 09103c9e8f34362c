package master

import (
	"encoding/json"
	"time"
)

// The control socket speaks JSON: a request per line, and per request one or
// more answers per line, of which the last has Done.

// request is what a command asks.
type request struct {
	Version int             `json:"version"` // wireVersion
	Op      string          `json:"op"`      // status, connections, reload, stop
	Args    json.RawMessage `json:"args,omitempty"`
}

// answer is what the master says.
type answer struct {
	Done     bool            `json:"done"`
	Error    string          `json:"error,omitempty"`
	Failure  *ReloadError    `json:"failure,omitempty"`  // of a reload
	Progress *Progress       `json:"progress,omitempty"` // of a reload, before it is done
	Data     json.RawMessage `json:"data,omitempty"`
}

// wireVersion is the version of the control socket's language. A master answers
// greater ones with an error.
const wireVersion = 1

// Limits of the control socket.
const (
	requestMax    = 64 << 10         // bytes of a line
	answerMax     = 16 << 20         // bytes of a line
	clientsMax    = 64               // at once
	requestBound  = 10 * time.Second // for a client to finish its line
	answerBound   = 10 * time.Second // for a client to take an answer
	progressQueue = 256              // progress lines that wait for a client; more are left out
)

// ConnQuery selects connections; empty fields select all.
type ConnQuery struct {
	Node    string `json:"node,omitempty"`   // where several share a bus
	Worker  string `json:"worker,omitempty"` // name of the group
	UID     string `json:"uid,omitempty"`
	Channel string `json:"channel,omitempty"`
	IP      string `json:"ip,omitempty"`
	Limit   int    `json:"limit,omitempty"`  // of one page: 1 to 1000, default 100
	Cursor  string `json:"cursor,omitempty"` // of the page before, "" = from the start
}

// ConnPage is a page of connections.
type ConnPage struct {
	Connections []json.RawMessage `json:"connections"` // worker.ConnInfo
	Cursor      string            `json:"cursor"`      // "" = that was all
	Complete    bool              `json:"complete"`    // every worker has answered
}
