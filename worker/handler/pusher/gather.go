package pusher

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pushd/pushd/worker"
)

// What the worker processes ask each other.
const (
	queryCount = "pusher.count" // names on the bus → members of each
	queryList  = "pusher.list"  // prefix of names on the bus → listing
)

// gatherTimeout is how long the other processes have to answer.
const gatherTimeout = 250 * time.Millisecond

// maxListing bounds the names in an answer, in bytes.
const maxListing = 512 << 10

// listing are channels of one process and their members here.
type listing struct {
	Channels map[string]int `json:"c"`
	More     bool           `json:"more,omitempty"` // there are others, too many to list
}

// OnQuery answers the other processes.
func (h *Handler) OnQuery(what string, args []byte) ([]byte, error) {
	switch what {
	case queryCount:
		var names []string
		if err := json.Unmarshal(args, &names); err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		counts := make([]int, len(names))
		for i, name := range names {
			counts[i] = h.w.CountMembers(name)
		}
		return json.Marshal(counts)
	case queryList:
		return json.Marshal(h.list(string(args)))
	}
	return nil, nil
}

// list lists the channels whose names begin with prefix.
func (p *process) list(prefix string) listing {
	l, size := listing{Channels: map[string]int{}}, 0
	p.w.Channels(func(name string, members int) bool {
		if !strings.HasPrefix(name, prefix) {
			return true
		}
		if size += len(name) + 8; size > maxListing {
			l.More = true
			return false
		}
		l.Channels[name] = members
		return true
	})
	return l
}

// countMembers calls done on the loop with the members that channels of the bus
// have in all processes.
func (p *process) countMembers(names []string, done func(counts []int, complete bool)) {
	args, err := json.Marshal(names)
	if err != nil {
		args = nil // strings only
	}
	p.w.Gather(queryCount, args, gatherTimeout, func(answers []worker.Answer, complete bool) {
		total := make([]int, len(names))
		for _, a := range answers {
			var counts []int
			if a.Data == nil || json.Unmarshal(a.Data, &counts) != nil || len(counts) != len(total) {
				continue // a process without this handler
			}
			for i, n := range counts {
				total[i] += n
			}
		}
		done(total, complete)
	})
}

// listChannels calls done on the loop with the channels of an app in all
// processes, by the names that its clients know. more says that there are too
// many to list.
func (p *process) listChannels(a *app, prefix string, done func(counts map[string]int, more, complete bool)) {
	p.w.Gather(queryList, []byte(a.channel(prefix)), gatherTimeout, func(answers []worker.Answer, complete bool) {
		total, more := map[string]int{}, false
		for _, answer := range answers {
			var l listing
			if answer.Data == nil || json.Unmarshal(answer.Data, &l) != nil {
				continue
			}
			more = more || l.More
			for name, n := range l.Channels {
				if name = name[len(a.ID)+1:]; name[0] != '#' { // those of users are no channels to list
					total[name] += n
				}
			}
		}
		done(total, more, complete)
	})
}
