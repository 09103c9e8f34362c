package master

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pushd/pushd/protocol/certs"
)

// PlanVersion is the version of Plan. A master that reads a greater one
// refuses to act on it.
const PlanVersion = 1

// PlanFDEnv names the environment variable that tells `plan` to write the full
// plan, secrets included, to the descriptor of that number. Without it `plan`
// prints a redacted one for people.
const PlanFDEnv = "PUSHD_PLAN_FD"

// Plan says what should run. The program on disk makes it of its config; the
// master acts on it and on nothing else.
type Plan struct {
	Version    int         `json:"version"`
	Program    string      `json:"program"`              // name and version, for people
	RuntimeDir string      `json:"runtime_dir"`          // absolute
	LogFile    string      `json:"log_file"`             // absolute, "" = inherit stderr
	LogLevel   string      `json:"log_level,omitempty"`  // of the master's own lines: debug, info (default), warn, error
	LogFormat  string      `json:"log_format,omitempty"` // of the master's own lines: text (default), json
	DrainMS    int64       `json:"drain_ms"`
	WatchdogMS int64       `json:"watchdog_ms"` // 0 = off
	Listeners  []Listener  `json:"listeners"`   // of all groups and of the broker process
	Workers    []Group     `json:"workers"`
	Broker     *BrokerPlan `json:"broker"` // nil = no broker process
	Copies     []Copy      `json:"copies,omitempty"`

	// Record is the newest version of connection records that the program
	// reads; 0, of programs that do not say so, is 1.
	Record int `json:"record,omitempty"`

	// Fixed are the keys of the config that a reload cannot change, each with
	// a digest of its value: a reload to a plan with another one is refused by
	// the key's name.
	Fixed map[string]string `json:"fixed,omitempty"`
}

// specMax is how long a Spec may be in bytes: with the rest of control.Init it
// fits into one control message.
const specMax = 100 << 10

// Copy is what the master reads from files and keeps for its children, in one
// piece and checked, until the files change to something that is as good: see
// copies.go.
type Copy struct {
	Name  string   `json:"name"`            // children know it by
	Kind  string   `json:"kind"`            // of package certs: "pair", "roots", "tickets"
	Files []string `json:"files,omitempty"` // absolute

	Optional bool `json:"optional,omitempty"` // the files come later: till then a pair is one that nobody trusts
}

// Listener is a socket that the master binds and keeps for life. Its address
// is "scheme://host:port", or "scheme:///path" for a unix socket; the scheme
// udp makes it a datagram socket, any other a stream.
type Listener struct {
	Address       string `json:"address"`
	UserTimeoutMS int64  `json:"user_timeout_ms,omitempty"` // TCP_USER_TIMEOUT and TCP_KEEPIDLE of accepted sockets
	Mode          uint32 `json:"mode,omitempty"`            // of a unix socket; 0 = 0660
	Group         string `json:"group,omitempty"`           // that a unix socket belongs to, name or number; "" = as it is
}

// Group is a group of equal worker processes, one per slot.
type Group struct {
	Name   string          `json:"name"`
	Listen []string        `json:"listen"` // addresses out of Plan.Listeners
	Count  int             `json:"count"`
	User   string          `json:"user,omitempty"`
	Group  string          `json:"group,omitempty"`
	Copies []string        `json:"copies,omitempty"` // names out of Plan.Copies
	Spec   json.RawMessage `json:"spec,omitempty"`   // for the worker, opaque here

	// Scripts says that handlers of it are programs beside its processes, which a
	// reload replaces alone when nothing else has changed.
	Scripts bool `json:"scripts,omitempty"`
}

// BrokerPlan is the process that holds the broker, the API, metrics and JSON
// ingest. Its first inherited listener is the broker's own socket, then those
// of Listen.
type BrokerPlan struct {
	Listen []string        `json:"listen"`
	User   string          `json:"user,omitempty"` // "" = the master's
	Group  string          `json:"group,omitempty"`
	Data   *DataPlan       `json:"data,omitempty"` // nil = it keeps nothing
	Copies []string        `json:"copies,omitempty"`
	Spec   json.RawMessage `json:"spec,omitempty"`

	// Answers are the questions of the master that the process answers (control.Answers).
	Answers []string `json:"answers,omitempty"`
}

// equal says whether q asks for the same.
func (p *Plan) equal(q *Plan) bool {
	a, errA := json.Marshal(p)
	b, errB := json.Marshal(q)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// changeable says whether a reload may go from a plan with the fixed keys of
// old, nil = any, to p.
func (p *Plan) changeable(old map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(old)) {
		if value, known := p.Fixed[key]; known && value != old[key] {
			return fmt.Errorf("%s has changed, and reload cannot change it: use restart", key)
		}
	}
	return nil
}

// Check finds what the master cannot act on.
func (p *Plan) Check() error {
	if p.Version > PlanVersion {
		return fmt.Errorf("plan has version %d, this master knows %d: use restart instead of reload", p.Version, PlanVersion)
	}
	if p.DrainMS < 0 || p.WatchdogMS < 0 {
		return fmt.Errorf("plan has drain_ms %d, watchdog_ms %d: neither may be negative", p.DrainMS, p.WatchdogMS)
	}
	known, err := p.checkListeners()
	if err != nil {
		return err
	}
	copies, err := p.checkCopies()
	if err != nil {
		return err
	}
	if b := p.Broker; b != nil {
		if err := errors.Join(checkProcess("the broker process", b.Listen, b.Spec, known), checkNames("the broker process", b.Copies, copies)); err != nil {
			return err
		}
	}
	names := map[string]bool{}
	for _, g := range p.Workers {
		if g.Name == "" || strings.ContainsAny(g.Name, "/ \x00") {
			return fmt.Errorf("name of a worker group %q: use letters, digits, - and _", g.Name)
		}
		if names[g.Name] {
			return fmt.Errorf("plan has the worker group %q twice", g.Name)
		}
		names[g.Name] = true
		if g.Count < 1 {
			return fmt.Errorf("worker group %q has count %d", g.Name, g.Count)
		}
		who := fmt.Sprintf("worker group %q", g.Name)
		if err := errors.Join(checkProcess(who, g.Listen, g.Spec, known), checkNames(who, g.Copies, copies)); err != nil {
			return err
		}
	}
	return nil
}

// checkListeners returns the addresses of the plan, each a socket of its own.
func (p *Plan) checkListeners() (known map[string]bool, err error) {
	known = map[string]bool{}
	sockets := map[endpoint]string{}
	for _, l := range p.Listeners {
		e, err := endpointOf(l.Address)
		if err != nil {
			return nil, err
		}
		if known[l.Address] {
			return nil, fmt.Errorf("plan has the listener %s twice", l.Address)
		}
		if other, ok := sockets[e]; ok {
			return nil, fmt.Errorf("%s and %s are one socket", other, l.Address)
		}
		known[l.Address], sockets[e] = true, l.Address
	}
	return known, nil
}

// Own says that address is a unix socket in the place of a file that a master, or
// who starts it, has in its runtime directory; others are names of further ones.
func (p *Plan) Own(address string, others ...string) error {
	e, err := endpointOf(address)
	if err != nil || e.network != "unix" || !sameFolder(filepath.Dir(e.address), p.RuntimeDir) {
		return nil // what is no address is told elsewhere
	}
	name := strings.TrimSuffix(filepath.Base(e.address), ".new")
	if !slices.Contains(append(others, lockFile, stateFile, controlSock, busSock), name) {
		return nil
	}
	return fmt.Errorf("%s is pushd's own in runtime_dir: give the socket another name", e.address)
}

func sameFolder(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return filepath.Clean(a) == filepath.Clean(b) || errX == nil && errY == nil && os.SameFile(x, y)
}

// checkCopies returns the names of the plan's copies.
func (p *Plan) checkCopies() (known map[string]bool, err error) {
	known = map[string]bool{}
	for _, c := range p.Copies {
		if known[c.Name] {
			return nil, fmt.Errorf("plan has %s twice", c.Name)
		}
		known[c.Name] = true
		if n, ok := copyFiles[c.Kind]; !ok || len(c.Files) != n && (c.Kind != certs.KindTickets || len(c.Files) != 0) {
			return nil, fmt.Errorf("plan has %s of kind %q with %d files, which this master does not know: use restart", c.Name, c.Kind, len(c.Files))
		}
		for _, f := range c.Files {
			if !filepath.IsAbs(f) {
				return nil, fmt.Errorf("plan has %s from %s: that is no absolute path", c.Name, f)
			}
		}
	}
	return known, nil
}

// copyFiles is how many files a copy of each kind is made of.
var copyFiles = map[string]int{certs.KindPair: 2, certs.KindRoots: 1, certs.KindTickets: 1, certs.KindChallenge: 1}

func checkNames(who string, copies []string, known map[string]bool) error {
	for _, name := range copies {
		if !known[name] {
			return fmt.Errorf("%s needs %s, which the plan does not list", who, name)
		}
	}
	return nil
}

// checkProcess checks what groups and the broker process have in common.
func checkProcess(who string, listen []string, spec json.RawMessage, known map[string]bool) error {
	for _, a := range listen {
		if !known[a] {
			return fmt.Errorf("%s listens on %s, which the plan does not list", who, a)
		}
	}
	if len(spec) > specMax {
		return fmt.Errorf("settings of %s exceed %d bytes, they have %d: each process is told all [[app]], and its routes with their options, at once",
			who, specMax, len(spec))
	}
	return nil
}
