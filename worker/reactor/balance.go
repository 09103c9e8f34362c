package reactor

import (
	"sync/atomic"
	"time"
)

// Processes that accept from the same listeners tell each other how many sockets
// each has, in memory that all have mapped. The kernel wakes who waits for longest
// and asks nobody how much he has already, so one that is ahead leaves the
// listeners to the others for some milliseconds.
//
// Nobody has to be believed. A process that has no line in the table is ignored,
// and so is one for whose sake others have rested too often: clients waited, and it
// did not take one for each rest. Who is slow gets what it takes, at its own pace,
// and holds nobody up.

// Balance is the table as one process sees it. Its methods are for the loop.
type Balance struct {
	lines []line // the first is the table's own: how many others are in use
	mine  int    // index of ours
	pid   uint32
	in    bool
	next  int     // with so many sockets the others are looked at again
	seen  []sight // of the lines
}

// line is one process's: who it is, 0 for nobody, how many sockets it has, and how
// many clients it has accepted so far. Each is a cache line.
type line struct {
	owner, sockets, accepts atomic.Uint32
	_                       [lineSize - 3*4]byte
}

const lineSize = 64

// sight is what was seen of a line.
type sight struct {
	owner, accepts uint32
	rests          uint8 // in vain: those while clients waited, less its accepts since
}

const (
	restsInVain = 16 // then a process is taken for stuck
	leastLead   = 8
)

// lead is how far ahead of another a process with n sockets may be.
func lead(n int) int { return max(leastLead, n/32) }

func newBalance(lines []line, place int, pid uint32) *Balance {
	return &Balance{lines: lines, mine: place + 1, pid: pid, seen: make([]sight, len(lines))}
}

// join takes the line over from whoever has had the place before. A process that
// has none accepts as it likes.
func (b *Balance) join(n int) {
	if b == nil || b.in {
		return
	}
	b.in, b.next = true, 0
	used := &b.lines[0].sockets
	for was := used.Load(); was < uint32(b.mine) && !used.CompareAndSwap(was, uint32(b.mine)); was = used.Load() {
	}
	b.lines[b.mine].sockets.Store(uint32(n))
	b.lines[b.mine].owner.Store(b.pid)
}

// leave gives the line up, unless it is a successor's already.
func (b *Balance) leave() {
	if b == nil || !b.in {
		return
	}
	b.in = false
	b.lines[b.mine].owner.CompareAndSwap(b.pid, 0)
}

// note tells the others how many sockets there are.
func (b *Balance) note(n int) {
	if b != nil && b.in && b.lines[b.mine].owner.Load() == b.pid {
		b.lines[b.mine].sockets.Store(uint32(n))
	}
}

// accepted counts a client that has made it n sockets, and reports whether the
// next ones should be left to others.
func (b *Balance) accepted(n int) (ahead bool) {
	if b == nil || !b.in {
		return false
	}
	b.note(n)
	b.lines[b.mine].accepts.Add(1)
	if n < b.next {
		return false
	}
	a := n - b.fewest(n, false)
	b.next = n + min(max(lead(n)-a, 1), leastLead) // the others do not have fewer by then, but for those that lose some
	return a >= lead(n)
}

// rested reports whether it is worth while to go on with a rest in which clients
// have waited.
func (b *Balance) rested(n int) bool { return b != nil && b.in && n-b.fewest(n, true) >= lead(n) }

// restTime is how long one that is ahead leaves the listeners at a time: the more
// others there are, the longer they take to catch up.
func (b *Balance) restTime() time.Duration {
	if b == nil {
		return longestRest
	}
	return min(time.Duration(max(b.others(), 1))*time.Millisecond, longestRest)
}

const longestRest = 8 * time.Millisecond

// others is how many lines are in use beside our own.
func (b *Balance) others() int { return min(int(b.lines[0].sockets.Load()), len(b.lines)-1) - 1 }

// fewest returns the number of sockets of the process that has fewest, n if that
// is ours. inVain counts a rest for the sake of those that have done nothing since.
func (b *Balance) fewest(n int, inVain bool) int {
	low := n
	for i := 1; i <= b.others()+1; i++ {
		l, s := &b.lines[i], &b.seen[i]
		now := sight{owner: l.owner.Load(), accepts: l.accepts.Load(), rests: s.rests}
		if now.owner == 0 || i == b.mine {
			continue
		}
		switch made := now.accepts - s.accepts; {
		case now.owner != s.owner || made >= uint32(s.rests):
			now.rests = 0
		default:
			now.rests -= uint8(made)
		}
		*s = now
		has := int(l.sockets.Load())
		if inVain && n-has >= lead(n) && s.rests < restsInVain {
			s.rests++
		}
		if s.rests < restsInVain {
			low = min(low, has)
		}
	}
	return low
}
