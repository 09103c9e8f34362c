package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pushd/pushd/master"
)

// reload replaces what runs by what is on disk and reports what happened.
func reload(c *call) error {
	if exe, err := os.Executable(); err == nil && underGoRun(exe) {
		return errors.New("reload: under `go run` there is no program on disk that could be replaced: " +
			"`go build` one, start that, build again, then reload (`restart` works)")
	}
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	progress, done := c.progress()
	report, err := client.Reload(context.Background(), progress)
	done()
	if err != nil {
		return reloadFailed(err)
	}
	if c.json() {
		return writeJSON(c.out, report)
	}
	c.tellReload(report)
	return nil
}

// failedReload is a refused reload with its place, and the object for --json.
type failedReload struct{ *master.ReloadError }

func (e failedReload) Error() string {
	place := ""
	if e.Worker != "" {
		place = fmt.Sprintf(" at %s/%d", e.Worker, e.Slot)
	}
	return fmt.Sprintf("reload failed%s, the old code keeps serving: %v", place, e.ReloadError)
}

func reloadFailed(err error) error {
	var refused *master.ReloadError
	if errors.As(err, &refused) {
		return failedReload{refused}
	}
	return fmt.Errorf("reload: %w", err)
}

// progress returns what is called at each step of a reload: a line that
// renews itself on a terminal, nothing elsewhere.
func (c *call) progress() (step func(master.Progress), done func()) {
	if c.json() || !isTerminal(c.out) {
		return nil, func() {}
	}
	step = func(p master.Progress) {
		fmt.Fprintf(c.out, "\r\x1b[Kreload %d/%d  %s/%d %s", p.Done, p.Total, p.Worker, p.Slot, p.Step)
	}
	return step, func() { fmt.Fprint(c.out, "\r\x1b[K") }
}

func (c *call) tellReload(r *master.ReloadReport) {
	t := newTable("WORKER", ">OLD PID", ">NEW PID", ">MOVED", ">MS")
	for _, s := range r.Slots {
		name := s.Worker
		if name != "broker" {
			name = fmt.Sprintf("%s/%d", s.Worker, s.Slot)
		}
		t.add(name, pidText(s.OldPID), pidText(s.NewPID), fmt.Sprint(s.Moved), fmt.Sprint(s.MS))
	}
	if len(r.Slots) > 0 {
		t.write(c.out)
		fmt.Fprintln(c.out)
	}
	fmt.Fprintf(c.out, "reloaded: %d processes replaced, %d connections moved, %d asked to come back", len(r.Slots), r.Moved, r.Drained)
	if r.Moved > 0 {
		fmt.Fprintf(c.out, ", longest pause %.0f ms", r.Pause.Max)
	}
	fmt.Fprintln(c.out)
}

func pidText(pid int) string {
	if pid == 0 {
		return "-"
	}
	return fmt.Sprint(pid)
}
