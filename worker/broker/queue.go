package broker

import (
	"sync"
	"time"

	"github.com/pushd/pushd/worker"
)

// item is what the sending goroutine works on: a publication, raw bytes for a
// subject of their own (answers and queries), or a mark.
type item struct {
	mark    func(error)        // if not nil: its turn has come, or why it was given up; must not block
	pub     worker.Publication // if subject is empty
	subject string
	reply   string
	raw     []byte
	queued  time.Time
	size    int // bytes that count against the queue's limit
}

// queue is the bounded way from the loop to the sending goroutine. put never
// blocks. What has been taken counts against the limits until it is done.
type queue struct {
	maxItems int
	maxBytes int
	wake     chan struct{} // one token: there is something to take

	mu     sync.Mutex
	items  []item
	spare  []item // the slice that take handed out before
	held   int    // queued or taken, not done
	bytes  int
	closed bool
}

// spareMax bounds the items for which an idle queue keeps room.
const spareMax = 1024

func newQueue(maxItems, maxBytes int) *queue {
	return &queue{maxItems: maxItems, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// put queues all of the items or, returning false, none.
func (q *queue) put(items ...item) bool {
	size := 0
	for i := range items {
		size += items[i].size
	}
	q.mu.Lock()
	ok := !q.closed && q.held+len(items) <= q.maxItems && q.bytes+size <= q.maxBytes
	if ok {
		q.items = append(q.items, items...)
		q.held += len(items)
		q.bytes += size
	}
	q.mu.Unlock()
	if ok {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return ok
}

// take returns everything queued; the slice is valid until the next take. One
// that finds nothing gives back the room that a burst has needed.
func (q *queue) take() []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 && cap(q.items)+cap(q.spare) > spareMax {
		q.items, q.spare = nil, nil
	}
	batch := q.items
	q.items, q.spare = q.spare[:0], batch
	return batch
}

// done gives back the room of a taken item and forgets its contents.
func (q *queue) done(it *item) {
	size := it.size
	*it = item{}
	q.mu.Lock()
	q.held--
	q.bytes -= size
	q.mu.Unlock()
}

// close makes every later put fail; what is queued can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held == 0
}
