package nodes

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// The simulation runs some nodes on one clock and one seed. Words between them
// are late, lost, doubled and overtaken; nodes are cut off, stop, die, come back
// as a successor or as a stranger of the same name. Their own clocks are hours
// apart.

type event struct {
	due time.Duration
	n   uint64 // in which order it was made
	run func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].due < e[j].due || e[i].due == e[j].due && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any     { o := *e; x := o[len(o)-1]; *e = o[:len(o)-1]; return x }

type world struct {
	t     *testing.T
	rand  *rand.Rand
	now   time.Duration
	queue events
	made  uint64
	nodes []*actor
	calm  bool // no more faults
	seed  uint64
}

// actor is a broker process.
type actor struct {
	w       *world
	name    string
	token   uint64
	clock   time.Duration // of its machine, from that of the world
	table   *Table
	dead    bool
	frozen  bool
	waiting []func() // what came while it was frozen
	cut     bool
	serves  bool
	given   bool // it gave up: its name is another's
	asked   time.Time
	spoke   time.Duration
	heard   map[string]time.Duration // last sign that came in, by name
}

func (w *world) after(d time.Duration, run func()) {
	w.made++
	heap.Push(&w.queue, event{w.now + d, w.made, run})
}

func (a *actor) time() time.Time { return start.Add(a.w.now + a.clock) }

// boot starts a process; a token of before makes it a successor.
func (w *world) boot(name string, token uint64, held bool) *actor {
	a := &actor{w: w, name: name, token: token, clock: time.Duration(w.rand.IntN(7200)-3600) * time.Second, heard: map[string]time.Duration{}}
	a.table = New(Self{Name: name, Epoch: w.rand.Uint64() | 1, Token: token, Held: held}, Times{}, a.time())
	a.table.SetWorkers([]string{name + "/push/0/1"})
	a.asked = a.time()
	w.nodes = append(w.nodes, a)
	w.after(0, func() { a.beat(true) })
	return a
}

func (a *actor) does(run func()) {
	switch {
	case a.dead || a.given:
	case a.frozen:
		a.waiting = append(a.waiting, run)
	default:
		run()
	}
}

func (a *actor) beat(first bool) {
	a.does(func() {
		if !first {
			for _, c := range a.table.Sweep(a.time()) {
				a.changed(c)
			}
		}
		every := Beat
		if !a.serves {
			if a.serves = a.table.FreeIn(a.asked, a.time()) == 0; a.serves {
				a.table.Serve()
			} else {
				every = Beat / 5
			}
		}
		a.say(!a.serves)
		a.w.after(every, func() { a.beat(false) })
	})
}

// changed checks that silence was silence.
func (a *actor) changed(c Change) {
	if c.To == Lost && a.w.now-a.heard[c.Name] < 5*time.Second {
		a.w.t.Errorf("seed %d: %s takes %s for lost after %s", a.w.seed, a.name, c.Name, a.w.now-a.heard[c.Name])
	}
}

func (a *actor) say(ask bool) {
	s := a.table.Sign(ask, a.time())
	a.spoke = a.w.now
	for _, b := range a.w.nodes {
		for range a.w.copies(a, b) {
			a.w.after(a.w.delay(), func() { b.does(func() { b.hear(s) }) })
		}
	}
}

func (w *world) copies(a, b *actor) int {
	switch n := w.rand.IntN(20); {
	case a != b && (a.cut || b.cut):
		return 0
	case w.calm:
		return 1
	case n < 4: // 20 % are lost
		return 0
	case n == 4:
		return 2
	}
	return 1
}

func (w *world) delay() time.Duration {
	d := time.Duration(w.rand.IntN(5000)) * time.Microsecond
	if !w.calm && w.rand.IntN(20) == 0 {
		d *= 100 // half a second
	}
	return d
}

func (a *actor) hear(s Sign) {
	v := a.table.Hear(&s, a.time())
	if o := a.table.others[s.Node]; o != nil && o.Heard.Equal(a.time()) {
		a.heard[s.Node] = a.w.now
	}
	switch {
	case v == Taken:
		a.given = true
	case v == Rival, s.Ask && v.Counts():
		a.say(false)
	}
}

func (a *actor) freeze(d time.Duration) {
	if a.frozen {
		return
	}
	a.frozen = true
	a.w.after(d, func() {
		a.frozen = false
		waiting := a.waiting
		a.waiting = nil
		for _, run := range waiting {
			a.does(run)
		}
	})
}

// mischief does something to one of the nodes.
func (w *world) mischief() {
	a := w.nodes[w.rand.IntN(len(w.nodes))]
	if a.dead || a.given || !a.serves {
		return
	}
	switch w.rand.IntN(5) {
	case 0:
		a.freeze(time.Duration(w.rand.IntN(12000)) * time.Millisecond)
	case 1:
		a.cut = true
		w.after(time.Duration(w.rand.IntN(12000))*time.Millisecond, func() { a.cut = false })
	case 2: // killed, and started again by its master
		a.dead = true
		w.after(time.Duration(w.rand.IntN(300))*time.Millisecond, func() { w.boot(a.name, a.token, true) })
	case 3: // the machine dies, and a pod of that name is made anew
		a.dead = true
		w.after(time.Duration(w.rand.IntN(3000))*time.Millisecond, func() { w.boot(a.name, w.rand.Uint64()|1, false) })
	case 4: // somebody starts another one of the name
		w.boot(a.name, w.rand.Uint64()|1, false)
	}
}

func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].due <= until {
		e := heap.Pop(&w.queue).(event)
		w.now = e.due
		e.run()
	}
	w.now = until
}

// living are the processes that serve, by name; two of one are a fault.
func (w *world) living() map[string]*actor {
	all := map[string]*actor{}
	for _, a := range w.nodes {
		if a.dead || a.given || !a.serves {
			continue
		}
		if all[a.name] != nil {
			w.t.Errorf("seed %d: two processes serve as %s", w.seed, a.name)
		}
		all[a.name] = a
	}
	return all
}

func (w *world) check() {
	living := w.living()
	for _, a := range living {
		for _, n := range a.table.Nodes(a.time()) {
			b := living[n.Name]
			switch {
			case n.Self:
			case b == nil && n.State != Lost:
				w.t.Errorf("seed %d: %s says that %s is %s, and there is none", w.seed, a.name, n.Name, n.State)
			case b != nil && (n.State != Ready || n.Epoch != b.table.me.Epoch || len(n.Workers) != 1):
				w.t.Errorf("seed %d: %s says of %s: %+v", w.seed, a.name, n.Name, n)
			}
		}
		if got := len(a.table.Workers()); got != len(living) {
			w.t.Errorf("seed %d: %s waits for %d workers of %d", w.seed, a.name, got, len(living))
		}
	}
}

// TestTablesAgree: whatever has happened, some seconds of calm later each table
// says what is, and of each name there is one.
func TestTablesAgree(t *testing.T) {
	rounds := 60
	if os.Getenv("PUSHD_TEST_FULL") != "" {
		rounds = 10_000
	}
	for seed := range uint64(rounds) {
		w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), seed: seed}
		for i := range 2 + w.rand.IntN(4) {
			w.boot(fmt.Sprintf("n%d", i), w.rand.Uint64()|1, false)
		}
		w.run(2 * time.Second)
		for w.now < time.Minute {
			w.run(w.now + time.Duration(w.rand.IntN(3000))*time.Millisecond)
			w.mischief()
		}
		w.run(w.now + 15*time.Second) // what was cut, stopped or made anew is back
		w.calm = true
		w.run(w.now + 8*time.Second)
		w.check()
		if t.Failed() {
			return
		}
	}
}
