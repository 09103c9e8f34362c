package broker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/worker"
)

// asker hands the answers that arrive to those who wait for them.
type asker struct {
	prefix string // of the reply subjects of this client

	mu   sync.Mutex
	next uint64
	open map[uint64]*replies
}

// replies collects the answers to up to a number of questions. Close it.
type replies struct {
	// C has a token when there is something to take.
	C <-chan struct{}

	c     chan struct{}
	limit int
	asker *asker
	token uint64
	got   []reply // guarded by asker.mu
}

// reply is the answer to a question.
type reply struct {
	question int
	worker.Answer
}

func newAsker(prefix string) *asker {
	return &asker{prefix: prefix, open: map[uint64]*replies{}}
}

func (a *asker) subscribe(nc *nats.Conn) error {
	if _, err := nc.Subscribe(a.prefix+".*.*", a.onReply); err != nil {
		return fmt.Errorf("%s: %w", a.prefix, err)
	}
	return nil
}

// replies opens a place for limit answers at a time; more are dropped. The
// client must have been started.
func (c *Client) replies(limit int) *replies {
	a := c.asker
	ch := make(chan struct{}, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	r := &replies{C: ch, c: ch, limit: limit, asker: a, token: a.next}
	a.open[r.token] = r
	return r
}

// subject is the Reply of question index.
func (r *replies) subject(index int) string {
	return r.asker.prefix + "." + strconv.FormatUint(r.token, 36) + "." + strconv.Itoa(index)
}

// take returns the answers that have come since the last call.
func (r *replies) take() []reply {
	r.asker.mu.Lock()
	defer r.asker.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// close forgets what is still to come.
func (r *replies) close() {
	r.asker.mu.Lock()
	defer r.asker.mu.Unlock()
	delete(r.asker.open, r.token)
}

// onReply runs on the goroutine of the reply subject.
func (a *asker) onReply(m *nats.Msg) {
	token, index, _ := strings.Cut(m.Subject[len(a.prefix)+1:], ".")
	n, err := strconv.ParseUint(token, 36, 64)
	if err != nil {
		return
	}
	a.mu.Lock()
	r := a.open[n]
	a.mu.Unlock()
	if r == nil {
		return // too late
	}
	var got reply
	if got.question, err = strconv.Atoi(index); err != nil {
		return
	}
	if err := json.Unmarshal(m.Data, &got.Answer); err != nil {
		return // counts as not answered
	}
	a.mu.Lock()
	if len(r.got) < r.limit {
		r.got = append(r.got, got)
	}
	a.mu.Unlock()
	select {
	case r.c <- struct{}{}:
	default:
	}
}
