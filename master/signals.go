package master

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Heeded leaves out of sigs what this process was started to ignore: whoever
// began it with nohup, or in the background of a script, has said that SIGHUP
// or SIGINT is not for it. Asking for such a signal would undo that. The answer
// holds until the first signal.Notify for one of them; on a master's re-exec
// its record knows.
func Heeded(sigs ...os.Signal) []os.Signal {
	return slices.DeleteFunc(sigs, func(s os.Signal) bool {
		return (s == syscall.SIGHUP || s == syscall.SIGINT) && signal.Ignored(s)
	})
}

// disposition is what the master was started with: signals that stay ignored,
// and whether it had a terminal to lose.
type disposition struct {
	Ignored  []syscall.Signal `json:"ignored,omitempty"`
	Terminal bool             `json:"terminal,omitempty"`
}

func readDisposition() disposition {
	d := disposition{Terminal: hasTerminal()}
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			d.Ignored = append(d.Ignored, s)
		}
	}
	return d
}

// heeded leaves out of sigs those that stay ignored.
func (d *disposition) heeded(sigs ...os.Signal) []os.Signal {
	return slices.DeleteFunc(sigs, func(s os.Signal) bool {
		sig, ok := s.(syscall.Signal)
		return ok && slices.Contains(d.Ignored, sig)
	})
}

// hungUp says whether the terminal that the master was started at is gone. One
// who never had any, such as a service manager, means something else by SIGHUP.
func (d *disposition) hungUp() bool { return d.Terminal && !hasTerminal() }

// hasTerminal says whether this process has a controlling terminal.
func hasTerminal() bool {
	s, err := readStat(os.Getpid())
	return err == nil && s.tty != 0
}

// untilSignal returns a context that ends at the first of sigs. heard ends the listening and
// says whether one came; when others listen before it is called, none is lost in between.
func untilSignal(ctx context.Context, sigs ...os.Signal) (until context.Context, heard func() bool) {
	until, cancel := context.WithCancel(ctx)
	signals, came := make(chan os.Signal, 1), make(chan bool, 1)
	signal.Notify(signals, sigs...)
	go func() {
		_, ok := <-signals
		cancel()
		came <- ok
	}()
	return until, sync.OnceValue(func() bool {
		signal.Stop(signals) // what has been sent so far has arrived then
		close(signals)
		return <-came
	})
}

// listen makes signals arrive at the loop.
func (m *master) listen() {
	signal.Notify(m.signals, m.from.heeded(syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCHLD)...)
}

// deafen ends what listen began; whatever came before is in m.signals. A
// program that is being replaced by execve has some 1 ms in which nobody
// listens, and Go lets no process hold these signals back for so long. So those
// that ask for a reload or a new log are ignored, and the new program looks by
// itself whether there is something to do (lookAgain); those that ask for a
// stop have their default effect: without a master the workers drain and leave.
// The caller undoes it if the program was not replaced. Both run on the loop.
//
// signal.Ignore would not do: it stops the runtime from handling a signal first
// and tells the kernel then, and one that comes between ends the process
// (runtime.sigignore and sigfwdgo, Go 1.26).
func (m *master) deafen() (undo func()) {
	asks := m.from.heeded(syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
	restore := ignoreInKernel(asks)
	late := make(chan os.Signal, len(asks)) // for those that a thread has been given already
	signal.Notify(late, asks...)
	signal.Stop(m.signals)
	return func() {
		restore()
		m.listen()
		signal.Stop(late)
		for len(late) > 0 {
			m.onSignal(<-late)
		}
	}
}

// onSignal acts on a signal to the master.
func (m *master) onSignal(sig os.Signal) {
	switch sig {
	case syscall.SIGCHLD:
		if os.Getpid() == 1 {
			reapStrangers(m.kin)
		}
		return
	case syscall.SIGUSR2:
		go m.reopenOnSignal()
	case syscall.SIGUSR1:
		m.requestReload(nil)
	case syscall.SIGHUP:
		m.onHangUp()
	case syscall.SIGQUIT:
		m.requestStop(StopOptions{Graceful: true, Timeout: quitTimeout})
	default:
		m.requestStop(StopOptions{})
	}
	m.log.Info("signal", "signal", sig.String())
}

// hangUpGrace is how long a terminal may outlive the SIGHUP that its end has
// sent: shells pass theirs on first and leave then.
const hangUpGrace = time.Second

// onHangUp stops when the terminal is gone, and reloads at any other SIGHUP. It
// runs on the loop.
func (m *master) onHangUp() {
	if m.stopIfHungUp() {
		return
	}
	m.requestReload(nil)
	if m.from.Terminal {
		time.AfterFunc(hangUpGrace, func() { m.post(func() { m.stopIfHungUp() }) })
	}
}

func (m *master) stopIfHungUp() bool {
	if !m.from.hungUp() {
		return false
	}
	m.log.Info("the terminal is gone")
	m.requestStop(StopOptions{})
	return true
}
