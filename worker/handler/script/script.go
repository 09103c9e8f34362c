// Package script is the handler "script": a program in any language. It runs the
// program beside the worker, one process of it, tells it what clients do and does
// what it orders, by docs/script-protocol.md. The worker holds the clients, so
// the program may be replaced, crash or be killed, and they stay.
//
// Everything here belongs to the loop, but for launch, which waits for a process
// that starts, and the goroutines that wait for its end and read its output.
//
//	events.go   what clients do becomes events
//	batch.go    events go out in batches, and come back done
//	orders.go   what the program wants is done
//	process.go  a process starts, and is connected
//	life.go     it takes over, is told to leave, has had its time
//	asked.go    who has asked by HTTP that the program reads itself
//	gone.go     who has left while no process could be told
//	death.go    it dies or hangs, and what becomes of those that it knew
//	move.go     connections go to another worker process, and what it carries with them
package script

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
)

func init() { worker.RegisterHandler("script", New) }

// sessionKey is the session value in which the program's session is kept.
const sessionKey = "script"

// handler is the program in one worker process.
type handler struct {
	o       Options
	w       *worker.Worker
	log     *slog.Logger
	clients worker.Clients
	holds   hold

	cur      *proc         // gets the events; nil: there is none
	starting bool          // the next one is being started, or is to be
	backoff  *worker.Timer // until it is; nil: launch runs
	cut      func()        // ends the process that launch waits for, so that it is begun again; nil: none
	leaving  bool          // the worker stops: no process follows
	births   int
	calls    atomic.Pointer[string] // what the last program that was ready calls itself; any goroutine may read it
	seen     map[string]stamp       // with `watch`: the program's files
	deaths   deaths
	bereft   bool // the last process was killed, and what it had is lost
	deadly   int  // processes in a row that have died of what was carried
	lost     lost

	wants    map[string]bool         // of the process, or of the one before
	told     map[uint64]told         // connections that cur knows
	fresh    map[uint64]bool         // connections that nobody has been told of and that are to be OPEN
	gone     map[uint64]wire.Opening // connections whose CLOSE is in next, unless a process has ended them itself
	later    []uint64                // connections that cur is to be told of by and by
	old      map[uint64]bool         // the same, as far as it was not told of them meanwhile
	head     []byte                  // of the handshake that is being answered
	line     []byte                  // reused: of the handshake of one that is told of later
	ended    map[uint64]bool         // connections that a process has ended, until they are gone: another one is not told of them
	spread   map[uint64]*worker.Conn // of which a process had what nobody else has: each is closed by a timer
	requests map[uint64]*request
	askers   map[uint64]uint64 // connections that have asked => messages they had been sent then
	excused  int               // requests answered for the program, and not in the log yet
	shakes   map[uint64]*shake

	goneUnder map[uint64]wire.Opening // the same of under

	next, under []byte // frames of the batch that is being filled, and of the one under way
	spare       []byte
	early       int    // bytes of next that are sent already
	beside      int    // bytes that were sent behind under and are of no batch
	greeting    int    // bytes of next that tell a new process of those who were there
	greets      int    // the same of under
	kicked      bool   // AfterRound sends it
	number      uint64 // of the batch under way, or the last one
	since       time.Time
	due         *worker.Timer // of the batch under way

	packed    []byte   // events that came along with connections
	known     []uint64 // by the programs that they came from
	carried   [][]byte // CARRY payloads for the next process
	passed    [][]byte // the same, of which cur was told and that it is not done with
	taken     []func() // run when it is done with these
	heir      bool     // the first of them is still to come
	importing int      // hand-overs to this worker process under way
	exported  func(carry []byte)
	behind    []*proc // they have said all, and may not have ended
	farewell  farewell
	noted     rateLimit
}

// told is what is known of a connection that the process was told of.
type told uint8

const (
	toldHeld   told = 1 << iota // the program holds it
	toldPaused                  // by the program
)

// New reads the options. The program is not run before the worker starts.
func New(o worker.Options) (worker.Handler, error) {
	opts, err := parse(o)
	if err != nil {
		return nil, err
	}
	return &handler{
		o: opts, wants: map[string]bool{}, told: map[uint64]told{}, fresh: map[uint64]bool{}, ended: map[uint64]bool{},
		spread: map[uint64]*worker.Conn{}, requests: map[uint64]*request{}, askers: map[uint64]uint64{}, shakes: map[uint64]*shake{},
	}, nil
}

var errRoot = errors.New("a script is not run as root: set user of [[worker]], or allow_root = true")

// CheckStart says what can be known before a process of the handler is there: that
// it must not be root's, that the program or its folder does not exist.
func (h *handler) CheckStart(root bool) error {
	if root && !h.o.AllowRoot {
		return errRoot
	}
	return h.o.find()
}

// OnWorkerStarting starts the program. The worker is ready when it is.
func (h *handler) OnWorkerStarting(w *worker.Worker, ready func(error)) {
	h.w = w
	h.log = slog.Default().With("worker", w.Name, "slot", w.Slot())
	if os.Geteuid() == 0 && !h.o.AllowRoot {
		ready(errRoot)
		return
	}
	h.await()
	setup := h.setup()
	longer := w.Every(time.Second, w.StillStarting) // until launch is over, which has Start
	if err := w.Go(func() {
		p, err := h.launch(context.Background(), setup)
		_ = w.Post(func() {
			longer.Stop()
			ready(h.started(p, err))
		})
	}); err != nil {
		longer.Stop()
		ready(err)
	}
}

// started goes on with the first process, or the reason why there is none.
func (h *handler) started(p *proc, err error) error {
	if err == nil {
		err = h.attach(p)
	}
	if err != nil {
		return err
	}
	h.begin(p)
	h.watch()
	return nil
}

// Clients are the connections that are the program's.
func (h *handler) Clients() *worker.Clients { return &h.clients }

// setup is what the next process is told first.
func (h *handler) setup() wire.Config {
	h.births++
	limits := h.w.Limits
	longest := max(limits.MaxMessage, limits.MaxBody+limits.MaxHeader, 0) + 64<<10 + wire.MaxSession
	if limits.MaxMessage == 0 || limits.MaxBody == 0 {
		longest = wire.MaxCarry
	}
	return wire.Config{
		Version: wire.Version, Worker: h.w.Name, Slot: h.w.Slot(), Count: h.w.Count, Generation: h.w.Generation(), Births: h.births,
		MaxFrame: longest, MaxReply: wire.MaxPayload,
		CallbackMS: time.Duration(h.o.Callback).Milliseconds(), Memory: int64(h.o.Memory), Watch: h.o.Watch, Lost: h.cur == nil && h.bereft, Before: h.before(),
	}
}

// before is what the next process is told of the one that serves.
func (h *handler) before() *wire.Before {
	if h.cur == nil || h.cur.stopping || len(h.cur.welcome.Files) == 0 {
		return nil
	}
	return &wire.Before{Files: h.cur.welcome.Files, Since: h.cur.born.Unix()}
}

// hold is why clients are held, as bits.
type hold uint8

const (
	holdQueue  hold = 1 << iota // too much is not done
	holdChange                  // one process takes the place of another
	holdMove                    // connections go to or come from another worker process
	holdEnd                     // the worker ends, and the program has said its last words
)

// hold holds the clients for one more reason, or for one less.
func (h *handler) hold(why hold, on bool) {
	if on {
		h.holds |= why
		h.clients.Hold(h.w)
		return
	}
	if h.holds &^= why; h.holds == 0 {
		h.clients.Release(h.w)
	}
}

// rateLimit lets one line a second through.
type rateLimit struct {
	last time.Time
	more int
}

func (r *rateLimit) allow() bool {
	if time.Since(r.last) < time.Second {
		r.more++
		return false
	}
	r.last = time.Now()
	return true
}

// note logs what a program does wrong, once a second.
func (h *handler) note(what string, f wire.Frame, err error) {
	if h.noted.allow() {
		h.log.Warn("script: "+what, "frame", f.Op.String(), "number", f.Conn, "error", fmt.Sprint(err), "more", h.noted.more)
		h.noted.more = 0
	}
}
