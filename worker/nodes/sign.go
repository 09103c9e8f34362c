// Package nodes knows the machines that share a bus: who is there, in what
// state, and with which workers. It is a table that is told what was heard and
// what time it is; it has no bus, no clock and no goroutine, so that thousands of
// schedules can be tried in a test.
package nodes

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// Bounds of what a node may say of itself. A sign over them is not heard.
const (
	MaxWord    = 1 << 10 // bytes of one service's word
	maxWords   = 16
	maxWorkers = 4096
	maxSpeaks  = 64
)

// Sign is a node's sign of life: every Beat, and at each change. Fields that a
// reader does not know it leaves alone, so versions may differ.
type Sign struct {
	Node  string `json:"node"`
	Epoch uint64 `json:"epoch"` // of the broker process, random
	// Token is the master's. Processes that show the same one are the same node,
	// one after the other. 0 = the master is too old to have one.
	Token uint64 `json:"token,omitempty"`
	N     uint64 `json:"n,omitempty"`   // counts the signs of an epoch from 1
	AgeMS int64  `json:"age,omitempty"` // since the token was drawn: clocks of machines do not agree, ages do

	State   State    `json:"state,omitempty"` // "" = Ready; else Joining or Leaving
	Version string   `json:"version,omitempty"`
	Speaks  []string `json:"speaks,omitempty"` // what it knows beyond the first version with nodes
	Apps    string   `json:"apps,omitempty"`   // hash of what all nodes must agree on
	Rules   string   `json:"rules,omitempty"`  // likewise, of what is said of channels
	Workers []string `json:"workers"`          // texts of their identities
	At      string   `json:"at,omitempty"`     // server of the bus that it hangs on

	Words map[string][]byte `json:"words,omitempty"` // by service: what it tells its peers
	Ask   bool              `json:"ask,omitempty"`   // it is new here: speak up
	Echo  *Echo             `json:"echo,omitempty"`
}

// Echo gives a sign back to the node that sent it. Each sign echoes one other, in
// turn, so that a sign does not grow with the number of nodes.
type Echo struct {
	Node   string `json:"node"`
	Epoch  uint64 `json:"epoch"`
	N      uint64 `json:"n"`
	HeldUS int64  `json:"held"` // from hearing it to this sign
}

// State is what is known of a node.
type State string

const (
	Ready   State = "ready"
	Quiet   State = "quiet"   // no sign for Times.Quiet: it may be slow, or cut off
	Lost    State = "lost"    // no sign for Times.Lost: nobody waits for it
	Leaving State = "leaving" // it has said so: its clients are being closed

	// Joining is what a process says of itself that does not have its name yet.
	// It is in nobody's table.
	Joining State = "joining"
)

// Beat is the time from one sign of life to the next.
const Beat = 500 * time.Millisecond

// nodeName has 64 letters at most: a pattern that counted them would be 60 KB in
// each process.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

const longestName = 64

var errSign = errors.New("sign of life is refused")

// check finds what no node of ours would say.
func (s *Sign) check() error {
	switch {
	case len(s.Node) > longestName || !nodeName.MatchString(s.Node) || s.Epoch == 0:
		return fmt.Errorf("%w: it has no name", errSign)
	case len(s.Workers) > maxWorkers, len(s.Words) > maxWords, len(s.Speaks) > maxSpeaks, len(s.Version) > MaxWord, len(s.Apps) > MaxWord, len(s.Rules) > MaxWord, len(s.At) > MaxWord:
		return fmt.Errorf("%w: it is too long", errSign)
	}
	for _, w := range s.Workers {
		if id, ok := control.ParseIdentity(w); !ok || id.Node != s.Node {
			return fmt.Errorf("%w: it names a worker of another node", errSign)
		}
	}
	for _, w := range s.Words {
		if len(w) > MaxWord {
			return fmt.Errorf("%w: a word is too long", errSign)
		}
	}
	return nil
}
