// Command broken is pushd that fails where a test wants it to: the file
// "trouble" in its working directory says in which process, and how. Commands
// and the master are never troubled.
package main

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"

	_ "github.com/pushd/pushd/worker/handler/chat"
	_ "github.com/pushd/pushd/worker/handler/echo"
	_ "github.com/pushd/pushd/worker/handler/notify"
)

func main() { cmd.Main() }

func init() {
	worker.RegisterHandler("troubled", newTroubled)
	process, deed := trouble()
	if process != here() {
		return
	}
	switch process {
	case "plan":
		plan(deed)
	case "worker":
		child(deed)
	}
}

// here is the sort of process that this one is.
func here() string {
	if os.Getenv(master.PlanFDEnv) != "" {
		return "plan"
	}
	return os.Getenv(control.RoleEnv)
}

// trouble reads "PROCESS how it fails".
func trouble() (process, deed string) {
	text, _ := os.ReadFile("trouble")
	process, deed, _ = strings.Cut(string(text), " ")
	return process, deed
}

// hang keeps a goroutine. Without a timer the runtime would take it for a
// deadlock and end the process.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// common are the ways that any process can fail.
func common(deed string) {
	switch deed {
	case "panics in init":
		panic("a package of the new version is broken")
	case "hangs in init":
		hang()
	case "exits in init":
		os.Exit(3)
	case "is killed in init":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "needs more memory than there is":
		_ = syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: 1, Max: 1})
		_ = bytes.Repeat([]byte{1}, 1<<30)
	}
}

// plan fails as `plan`, which writes to a descriptor that the master gives it.
func plan(deed string) {
	common(deed)
	fd, _ := strconv.Atoi(os.Getenv(master.PlanFDEnv))
	out := os.NewFile(uintptr(fd), "plan")
	say := func(text string) {
		_, _ = out.WriteString(text)
		os.Exit(0)
	}
	switch deed {
	case "says nothing":
		say("")
	case "says garbage":
		say("Segmentation fault (core dumped)")
	case "says half of it":
		say(`{"version":1,"workers":[{"name":"pu`)
	case "says too much":
		say(strings.Repeat("x", 17<<20))
	case "is of a later version":
		say(`{"version":99}`)
	case "wants minus one worker":
		say(`{"version":1,"runtime_dir":"/","workers":[{"name":"push","count":-1}]}`)
	case "gives no reason":
		os.Exit(1)
	}
}

// child fails as a worker, before it is one.
func child(deed string) {
	common(deed)
	switch deed {
	case "may open few files":
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 52, Max: 52}) // no room beside what a worker keeps back
	case "speaks nonsense to the master":
		_, _ = os.NewFile(control.FD, "control").WriteString("ready?")
		hang()
	}
	if manner, ok := strings.CutPrefix(deed, "as a peer "); ok {
		impostor(manner)
	}
}

// impostor says that it is ready, and then fails the old worker.
func impostor(manner string) {
	c, err := control.Open(os.NewFile(control.FD, "control"))
	if err != nil {
		os.Exit(1)
	}
	_, _, _ = c.Receive() // init
	_ = c.Send(control.TypeReady, 0, nil)
	for {
		m, files, err := c.Receive()
		if err != nil {
			os.Exit(0)
		}
		switch m.Type {
		case control.TypePing:
			_ = c.SendMessage(control.Message{Type: control.TypePong, ID: m.ID})
		case control.TypeQuery:
			_ = c.SendMessage(control.Message{Type: control.TypeAnswer, ID: m.ID, Body: []byte("{}")})
		case control.TypeImport:
			meet(c, m, files[0], manner)
		}
	}
}

// meet speaks to the old worker: kind, number of descriptors, length, body.
func meet(c *control.Conn, m control.Message, old *os.File, manner string) {
	answer := control.Message{Type: control.TypeAnswer, ID: m.ID}
	switch manner {
	case "refuses":
		answer.Error = "not in the mood"
	case "never answers":
		return
	case "leaves":
		os.Exit(4)
	case "reads no records of this version":
		_, _ = old.Write([]byte{'H', 0, 0, 0, 0, 1, 0})
	case "speaks nonsense":
		_, _ = old.Write([]byte{'?', 0, 0, 0, 0, 0})
	case "hangs up":
		defer old.Close()
	case "greets and hangs":
		_, _ = old.Write([]byte{'H', 0, 0, 0, 0, 1, 1})
	}
	_ = c.SendMessage(answer)
}

// troubled is a handler that fails where real ones do.
type troubled struct{ deed string }

func newTroubled(worker.Options) (worker.Handler, error) {
	process, deed := trouble()
	if process != here() {
		return troubled{}, nil
	}
	switch deed {
	case "fails in a constructor":
		return nil, errors.New("no database")
	case "panics in a constructor":
		panic("no database")
	case "makes no handler":
		return nil, nil
	}
	return troubled{deed}, nil
}

// OnWorkerStart fails in the worker.
func (t troubled) OnWorkerStart(*worker.Worker) error {
	switch t.deed {
	case "fails in OnWorkerStart":
		return errors.New("no database")
	case "panics in OnWorkerStart":
		panic("no database")
	case "hangs in OnWorkerStart":
		hang()
	case "exits in OnWorkerStart":
		os.Exit(5)
	case "finds the disk full":
		return os.WriteFile("/dev/full", []byte("state"), 0o600)
	}
	return nil
}

// OnMessage echoes.
func (t troubled) OnMessage(c *worker.Conn, m worker.Message) { _ = c.Send(m) }
