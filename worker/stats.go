package worker

import (
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// Stats is what one worker process reports about itself. Together with what
// the master knows (state, restarts) it is an entry of `status --json`.
type Stats struct {
	Connections  int      `json:"connections"`
	Limit        int      `json:"connections_limit"` // max_connections, or what the descriptors allow
	AcceptPaused bool     `json:"accept_paused"`     // there is no place left; the state is "full"
	QueueBytes   int64    `json:"queue_bytes"`
	Timers       int      `json:"timers"`
	Goroutines   int      `json:"goroutines"`
	LoopLagMS    float64  `json:"loop_lag_ms"` // longest turn of the loop in the last 5 to 10 s
	Listen       []string `json:"listen"`

	Scripts []ScriptStats `json:"scripts,omitempty"` // of handlers that are programs beside the worker

	control.Counters
}

// ScriptStats is what a handler says of the program that it runs beside the
// worker, one process of it.
type ScriptStats struct {
	Route    string    `json:"route"` // "" = what no route takes
	Title    string    `json:"title"`
	PID      int       `json:"pid"`    // 0 = none at the moment
	State    string    `json:"state"`  // "ready", "starting", "leaving", "degraded": does not get ready, or dies before it has done anything
	Births   int       `json:"births"` // processes started, this one included
	Started  time.Time `json:"started"`
	RSSBytes int64     `json:"rss_bytes"`
	Batches  int       `json:"batches"` // that it has done
	Waiting  int       `json:"waiting"` // bytes of events that it has not done
	Told     int       `json:"told"`    // connections that it knows
	Held     bool      `json:"held"`    // its clients wait: too much is not done, or a process takes over

	Holds   uint64 `json:"holds"`           // how often clients had to wait since too much was not done
	Doubts  uint64 `json:"closed_in_doubt"` // connections closed since nobody knew what became of their message
	Strands uint64 `json:"closed_held"`     // connections closed since only a dead process knew them
	Packets uint64 `json:"packets_lost"`    // datagrams that found too much waiting
}

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

// ChannelInfo is an entry of GET /v1/channels.
type ChannelInfo struct {
	Name    string `json:"name"`
	Members int    `json:"members"`
}

// ChannelQuery is the Args of the query "channels"; the answer is a
// ChannelPage in the order of names, so that pages of many processes merge.
type ChannelQuery struct {
	Prefix string `json:"prefix,omitempty"`
	Limit  int    `json:"limit,omitempty"`
	Cursor string `json:"cursor,omitempty"` // names after this one
}

// ChannelPage is the answer to a ChannelQuery.
type ChannelPage struct {
	Channels []ChannelInfo `json:"channels"`
	Cursor   string        `json:"cursor"`
}
