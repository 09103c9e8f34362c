package nodes

import (
	"maps"
	"slices"
	"time"
)

// Times say after how much silence what is thought of a node. Zero values are
// replaced by the defaults.
type Times struct {
	Quiet  time.Duration `json:"quiet,omitempty"`  // default 1.5 s
	Lost   time.Duration `json:"lost,omitempty"`   // default 5 s
	Forget time.Duration `json:"forget,omitempty"` // from the last sign to the day it was never there; default 10 min
}

func (t Times) withDefaults() Times {
	if t.Quiet <= 0 {
		t.Quiet = 3 * Beat
	}
	if t.Lost <= 0 {
		t.Lost = 5 * time.Second
	}
	if t.Forget <= 0 {
		t.Forget = 10 * time.Minute
	}
	t.Lost = max(t.Lost, t.Quiet)
	t.Forget = max(t.Forget, t.Lost)
	return t
}

// MaxNodes is how many nodes a table holds besides its own.
const MaxNodes = 1024

// Node is what the table says of a node.
type Node struct {
	Name    string
	Self    bool
	Epoch   uint64 // of the broker process; of a node that says little of itself, 0
	Version string
	State   State
	Workers []string // of a node that is lost: none
	Apps    string   // hashes of what all nodes must agree on; "" = it says nothing of it
	Rules   string
	At      string
	Speaks  []string
	RTT     time.Duration // to its broker process and back; 0 = not known
	Heard   time.Time     // its last sign
	Before  time.Time     // the last sign of the process before this one; zero = none was heard
	Words   map[string][]byte
}

// Agrees reports whether nothing shows that two nodes have other apps or channels. One
// of an earlier version says less.
func (n *Node) Agrees(with *Node) bool {
	same := func(a, b string) bool { return a == "" || b == "" || a == b }
	return same(n.Apps, with.Apps) && same(n.Rules, with.Rules)
}

// Table is what one node knows of all. It is not safe for use by several
// goroutines. Times that are handed in must not go back.
type Table struct {
	times  Times
	me     Sign
	born   time.Time // when the token was drawn, on our clock
	rival  time.Time // when somebody else was last heard under our name, zero = never
	others map[string]*other
	swept  time.Time
	sent   [16]time.Time // when, by the number of the sign
	turn   string        // who was echoed last

	refused, overtaken uint64
}

// other is a node as it was heard last.
type other struct {
	Node
	token    uint64
	n        uint64
	former   uint64 // the epoch before this one: what it has under way counts no more
	answered uint64 // number of the sign that was echoed last
}

// Self is who a table belongs to.
type Self struct {
	Name, Version, Apps, Rules string
	Epoch                      uint64
	Token                      uint64
	Age                        time.Duration // of the token
	Held                       bool          // processes with this token have served before: no need to ask for the name
	Speaks                     []string
}

// New makes a table in which this node is alone.
func New(s Self, times Times, now time.Time) *Table {
	t := &Table{times: times.withDefaults(), others: map[string]*other{}, born: now.Add(-s.Age), swept: now}
	t.me = Sign{Node: s.Name, Epoch: s.Epoch, Token: s.Token, Version: s.Version, Apps: s.Apps, Rules: s.Rules, Speaks: s.Speaks, Workers: []string{}, State: Joining}
	if s.Held {
		t.me.State = Ready
	}
	return t
}

// Serve ends the time in which this node asks for its name.
func (t *Table) Serve() {
	if t.me.State == Joining {
		t.me.State = Ready
	}
}

// Leave says that the clients of this node are being closed.
func (t *Table) Leave() { t.me.State = Leaving }

// SetWorkers names the workers of this node.
func (t *Table) SetWorkers(workers []string) { t.me.Workers = slices.Clone(workers) }

// SetAt names the server of the bus that this node hangs on.
func (t *Table) SetAt(server string) { t.me.At = server }

// SetWord says what a service tells its peers; nil = nothing. word must not be
// changed any more.
func (t *Table) SetWord(service string, word []byte) {
	words := maps.Clone(t.me.Words) // the one before may be in somebody's hands
	if words == nil {
		words = map[string][]byte{}
	}
	words[service] = word
	if word == nil {
		delete(words, service)
	}
	t.me.Words = words
}

// FreeIn is how long this node has to hear nobody under its name before it may
// have it.
func (t *Table) FreeIn(since, now time.Time) time.Duration {
	if t.me.State != Joining {
		return 0
	}
	if t.rival.After(since) {
		since = t.rival
	}
	return max(0, t.times.Quiet-now.Sub(since))
}

// Sign returns the next sign of life.
func (t *Table) Sign(ask bool, now time.Time) Sign {
	t.me.N++
	t.sent[t.me.N%uint64(len(t.sent))] = now
	s := t.me
	s.AgeMS, s.Ask, s.Echo = now.Sub(t.born).Milliseconds(), ask, t.echo(now)
	return s
}

// echo gives back the newest sign of the next node in turn.
func (t *Table) echo(now time.Time) *Echo {
	names := t.names()
	at, _ := slices.BinarySearch(names, t.turn+"\x00")
	for i := range names {
		o := t.others[names[(at+i)%len(names)]]
		if o.n == o.answered || now.Sub(o.Heard) > t.times.Quiet {
			continue
		}
		t.turn, o.answered = o.Name, o.n
		return &Echo{Node: o.Name, Epoch: o.Epoch, N: o.n, HeldUS: now.Sub(o.Heard).Microseconds()}
	}
	return nil
}

func (t *Table) names() []string { return slices.Sorted(maps.Keys(t.others)) }

// Nodes returns all nodes, this one among them, in the order of their names.
// What it refers to does not change any more. A node that has been silent for
// Times.Quiet is no better than quiet, be it this one that hears nobody and does not
// call Sweep: how far away it is is of another time.
func (t *Table) Nodes(now time.Time) []Node {
	all := make([]Node, 0, len(t.others)+1)
	for _, o := range t.others {
		n := o.Node
		if n.State == Ready && now.Sub(n.Heard) > t.times.Quiet {
			n.State = Quiet
		}
		if n.State == Quiet {
			n.RTT = 0
		}
		all = append(all, n)
	}
	all = append(all, Node{
		Name: t.me.Node, Self: true, Epoch: t.me.Epoch, Version: t.me.Version, State: t.me.State, Workers: t.me.Workers,
		Apps: t.me.Apps, Rules: t.me.Rules, At: t.me.At, Speaks: t.me.Speaks, Heard: now, Words: t.me.Words,
	})
	slices.SortFunc(all, func(a, b Node) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// Workers returns whose answers are to be waited for: the workers of all nodes
// that are not lost.
func (t *Table) Workers() []string {
	all := slices.Clone(t.me.Workers)
	for _, name := range t.names() {
		all = append(all, t.others[name].Workers...)
	}
	return all
}

// AllSpeak reports whether every node that is not lost knows a word that was not
// there in the first version with nodes.
func (t *Table) AllSpeak(word string) bool {
	for _, o := range t.others {
		if o.State != Lost && !slices.Contains(o.Speaks, word) {
			return false
		}
	}
	return slices.Contains(t.me.Speaks, word)
}

// Known returns what the nodes that are not lost have said last, but for their
// words, for the process after this one.
func (t *Table) Known() []Sign {
	list := []Sign{}
	for _, name := range t.names() {
		if o := t.others[name]; o.State == Ready || o.State == Quiet {
			list = append(list, Sign{
				Node: o.Name, Epoch: o.Epoch, Token: o.token, N: o.n, Version: o.Version, Speaks: o.Speaks, Apps: o.Apps, Rules: o.Rules, Workers: o.Workers, At: o.At,
			})
		}
	}
	return list
}

// Restore takes in what the process before this one knew. Until they are heard,
// those nodes are quiet: their workers have to answer.
func (t *Table) Restore(known []Sign, now time.Time) {
	for i := range known {
		s := &known[i]
		if s.check() != nil || s.Node == t.me.Node || t.others[s.Node] != nil || !t.room() {
			continue
		}
		o := &other{}
		o.take(s, now)
		o.State = Quiet
		t.others[s.Node] = o
	}
}

// Refused counts signs that no node of ours would send.
func (t *Table) Refused() uint64 { return t.refused }
