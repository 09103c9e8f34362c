package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// TakeoverEnv names the environment variable that makes the program go on with
// the life of a running master (TakeOver). Its value is "check", or the number
// of the descriptor that holds the record.
const TakeoverEnv = "PUSHD_TAKEOVER"

// takeoverVersion is the version of takeover. A reader skips fields that it
// does not know; the version changes only when skipping one would be wrong.
const takeoverVersion = 1

// takeover is what a master leaves to the program that it executes in its
// place: all that it knows, with the numbers of the descriptors that stay open.
// Units, slots and so on refer to each other by their place in these lists.
type takeover struct {
	Version    int             `json:"version"`
	Options    Options         `json:"options"` // of Run; Version is the old program's
	From       disposition     `json:"from"`
	Started    time.Time       `json:"started"`
	Generation int             `json:"generation"`
	Reloads    ReloadStatus    `json:"reloads"`
	Plan       *Plan           `json:"plan"`
	Lock       int             `json:"lock"`
	Control    int             `json:"control"` // the listening socket for commands
	Bus        carriedSocket   `json:"bus"`
	BusFD      int             `json:"bus_fd"`
	LogPath    string          `json:"log_path"`
	Log        int             `json:"log"` // -1 = stderr
	Programs   []carriedFile   `json:"programs"`
	Sockets    []carriedSocket `json:"sockets"`
	Copies     []carriedCopy   `json:"copies,omitempty"`
	Balances   []carriedFile   `json:"balances,omitempty"` // by name of the group
	Units      []carriedUnit   `json:"units"`
	Slots      []carriedSlot   `json:"slots"`
	Broker     *carriedSlot    `json:"broker"`
	Processes  []carriedProc   `json:"processes"`
	Orphans    []Orphan        `json:"orphans"`
	Talks      []carriedTalk   `json:"talks"`
	Wanted     bool            `json:"wanted"` // one more reload is
	Ended      []ended         `json:"ended"`
	Tenure     *tenure         `json:"tenure,omitempty"` // nil: of a version without
	Report     *ReloadReport   `json:"report"`           // of the reload that ends with this
	Begin      time.Time       `json:"begin"`            // of the standstill
}

type carriedFile struct {
	Path string `json:"path"`
	FD   int    `json:"fd"`
}

type carriedSocket struct {
	Network string `json:"network"`
	Address string `json:"address"`
	Bound   string `json:"bound"`
	FD      int    `json:"fd"`
}

type carriedListen struct {
	Address string `json:"address"`
	Socket  int    `json:"socket"` // -1 = the bus
}

type carriedUnit struct {
	Role       control.Role        `json:"role"`
	Name       string              `json:"name"`
	Generation int                 `json:"generation"`
	Program    int                 `json:"program"` // -1 = closed: its processes leave
	Listen     []carriedListen     `json:"listen"`
	Bus        bool                `json:"bus"`
	Cred       *syscall.Credential `json:"cred"`
	Data       *DataPlan           `json:"data,omitempty"`
	Copies     []string            `json:"copies,omitempty"`
	Spec       json.RawMessage     `json:"spec"`
	DrainMS    int64               `json:"drain_ms"`
	Answers    []string            `json:"answers"` // nil = the master before knew nothing of it
}

type carriedSlot struct {
	Unit     int           `json:"unit"`
	Index    int           `json:"index"`
	Proc     int           `json:"proc"`    // -1 = none
	Booting  int           `json:"booting"` // -1 = none
	Restarts int           `json:"restarts"`
	Recent   []time.Time   `json:"recent"`
	Delay    time.Duration `json:"delay"`
	Degraded bool          `json:"degraded"`
}

type carriedProc struct {
	Unit    int             `json:"unit"`
	Index   int             `json:"index"` // of its slot, which may be gone
	PID     int             `json:"pid"`
	Start   uint64          `json:"start"`
	Started time.Time       `json:"started"`
	Control int             `json:"control"`
	LastID  uint64          `json:"last_id"`
	Silent  int64           `json:"silent"` // ns
	Ready   time.Time       `json:"ready"`  // zero = not yet
	Leaving bool            `json:"leaving"`
	Aborted bool            `json:"aborted"`
	Stats   json.RawMessage `json:"stats"`
}

// carriedTalk is a client of the control socket.
type carriedTalk struct {
	FD    int    `json:"fd"`
	Begun []byte `json:"begun"` // read of what it says next
	Waits string `json:"waits"` // for: "" = nothing, "report", "reload" = the next one
}

// Words of carriedTalk.Waits.
const (
	waitsReport = "report"
	waitsReload = "reload"
)

// verdict is the answer of a program that was asked to check a record.
type verdict struct {
	Version int    `json:"version"` // the highest that it can read
	Program string `json:"program"` // its version, for people
}

// parseTakeover reads a record and checks that it can be acted on.
func parseTakeover(data []byte) (*takeover, error) {
	var head struct{ Version int }
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read the record of the running master (%d bytes): %w", len(data), err)
	}
	if head.Version < 1 || head.Version > takeoverVersion {
		return nil, fmt.Errorf("the running master leaves a record of version %d, this program knows %d: use restart", head.Version, takeoverVersion)
	}
	t := new(takeover)
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("read the record of the running master: %w", err)
	}
	return t, t.check()
}

// check finds references that lead nowhere.
func (t *takeover) check() error {
	if t.Plan == nil || t.Report == nil {
		return errors.New("the record of the running master has no plan or no report")
	}
	if err := t.Plan.Check(); err != nil {
		return err
	}
	bad := false
	within := func(i, low, n int) { bad = bad || i < low || i >= n }
	for _, u := range t.Units {
		within(u.Program, -1, len(t.Programs))
		for _, l := range u.Listen {
			within(l.Socket, -1, len(t.Sockets))
		}
		for _, name := range u.Copies {
			bad = bad || !slices.ContainsFunc(t.Copies, func(c carriedCopy) bool { return c.Copy.Name == name })
		}
	}
	slots := t.Slots
	if t.Broker != nil {
		slots = append(slots[:len(slots):len(slots)], *t.Broker)
	}
	for _, s := range slots {
		within(s.Unit, 0, len(t.Units))
		within(s.Proc, -1, len(t.Processes))
		within(s.Booting, -1, len(t.Processes))
	}
	for _, p := range t.Processes {
		within(p.Unit, 0, len(t.Units))
	}
	if bad {
		return errors.New("the record of the running master refers to what it does not hold")
	}
	return nil
}

// fdOf returns the descriptor of a file or socket, which stays as it is.
func fdOf(c syscall.Conn) (fd int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := rc.Control(func(n uintptr) { fd = int(n) })
	return fd, cerr
}

// luggage collects the descriptors that a record names.
type luggage struct {
	fds []int
	err error
}

func (l *luggage) add(fd int) int {
	l.fds = append(l.fds, fd)
	return fd
}

func (l *luggage) addConn(c syscall.Conn) int {
	fd, err := fdOf(c)
	if err != nil {
		l.err = errors.Join(l.err, fmt.Errorf("descriptor to carry over: %w", err))
		return -1
	}
	return l.add(fd)
}

func (l *luggage) addFile(f *os.File) int {
	if f == nil {
		return -1
	}
	return l.addConn(f)
}
