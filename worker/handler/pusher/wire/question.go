package wire

// Question is what the HTTP API asks the service "pusher", in JSON.
type Question struct {
	Op       string   `json:"op"`
	App      string   `json:"app"`
	Channels []string `json:"channels"`
}

// The questions, and their answers in JSON.
const (
	AskUsers  = "users"  // of the one channel: the ids of its users, a list of strings
	AskCounts = "counts" // of presence channels: the number of users of each, in order
	AskCache  = "cache"  // of the one channel: a Cached, or null
)

// Cached is the last event of a cache channel.
type Cached struct {
	Event []byte `json:"event"` // as its subscribers get it
	TTL   int    `json:"ttl"`   // seconds that it will be kept
}
