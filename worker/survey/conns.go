package survey

import (
	"encoding/json"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// A page is bounded in number and in the bytes that it has as JSON, to fit a
// control message whatever names strangers have chosen.
const (
	MaxPage  = 100
	maxBytes = 64 << 10
	MaxEntry = 32 << 10 // of one connection; beyond it goes without its channels
	MaxNames = 100      // channels listed of one connection
)

// ConnInfo is an entry of `connections --json` and of GET /v1/connections.
type ConnInfo struct {
	ID          string    `json:"id"`
	Node        string    `json:"node,omitempty"` // set by the API, where there are several
	Worker      string    `json:"worker"`
	Slot        int       `json:"slot"`
	PID         int       `json:"pid"`
	UID         string    `json:"uid"`
	Protocol    string    `json:"protocol"` // "websocket", "http", "text" …
	TLS         string    `json:"tls"`      // "1.3 AES128", "" without TLS
	Path        string    `json:"path"`
	IP          string    `json:"ip"` // real client address behind trusted proxies
	Port        int       `json:"port"`
	Local       string    `json:"local"`
	Connected   time.Time `json:"connected"`
	IdleS       int       `json:"idle_s"`
	RecvQueue   int       `json:"recv_queue"` // bytes
	SendQueue   int       `json:"send_queue"` // bytes
	BytesIn     uint64    `json:"bytes_in"`
	BytesOut    uint64    `json:"bytes_out"`
	MessagesIn  uint64    `json:"messages_in"`
	MessagesOut uint64    `json:"messages_out"`
	Dropped     uint64    `json:"dropped"` // messages that did not get into the queue, or not out of it
	Channels    []string  `json:"channels"`
}

// ConnQuery selects connections; empty fields select all. It is the Args of
// the query "connections".
type ConnQuery struct {
	UID     string `json:"uid,omitempty"`
	Channel string `json:"channel,omitempty"`
	IP      string `json:"ip,omitempty"`
	Limit   int    `json:"limit,omitempty"`  // of one answer, 1 to 100
	Cursor  string `json:"cursor,omitempty"` // from the previous answer, "" = from the start
}

// ConnPage is the answer to a ConnQuery. A page fits into one control message.
type ConnPage struct {
	Connections []ConnInfo `json:"connections"`
	Cursor      string     `json:"cursor"` // "" = that was all
}

// Conns puts a page together, of connections in the order of their ids; the cursor is
// the last id. Ordered so, a page misses nothing that stays and repeats nothing.
type Conns struct {
	limit, size int
	last        string
	page        connPage
}

// connPage is a ConnPage whose entries are encoded.
type connPage struct {
	Connections []json.RawMessage `json:"connections"`
	Cursor      string            `json:"cursor"`
}

// NewConns begins a page for q.
func NewConns(q ConnQuery) *Conns {
	return &Conns{limit: limitOf(q.Limit), page: connPage{Connections: []json.RawMessage{}}}
}

// limitOf holds a limit to MaxPage.
func limitOf(n int) int {
	if n <= 0 || n > MaxPage {
		return MaxPage
	}
	return n
}

// Wants is how many are worth offering: one more than it takes, which shows that there
// are more.
func (p *Conns) Wants() int { return p.limit + 1 }

// Add offers the next one. With false the page is full, and it belongs to the next.
func (p *Conns) Add(i ConnInfo) bool {
	if len(p.page.Connections) == p.limit || p.size > maxBytes {
		p.page.Cursor = p.last
		return false
	}
	entry := i.encode()
	p.size += len(entry)
	p.page.Connections, p.last = append(p.page.Connections, entry), i.ID
	return true
}

// Page returns what there is, to be written as JSON: a ConnPage.
func (p *Conns) Page() any { return p.page }

// encode returns at most MaxEntry bytes.
func (i ConnInfo) encode() json.RawMessage {
	raw, err := control.Marshal(i)
	if err != nil || len(raw) > MaxEntry {
		i.UID, i.Channels = Clip(i.UID), nil
		raw, _ = control.Marshal(i) // plain values only
	}
	return raw
}

// Clip shortens what a client chose to a size that a table can bear.
func Clip(s string) string {
	if len(s) > 200 {
		return s[:200]
	}
	return s
}
