package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/worker"
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
	report, err := client.ReloadWith(context.Background(), master.ReloadOptions{All: c.flags.Bool("all")}, progress)
	done()
	if err != nil {
		return c.reloadFailed(err)
	}
	if c.json() {
		return writeJSON(c.out, report)
	}
	c.tellReload(report)
	return nil
}

// failedReload is a refused reload with its place, and the object for --json.
type failedReload struct {
	*master.ReloadError
	serves string // who does now
}

func (e failedReload) Error() string {
	if e.Step == master.StepInterrupted { // no code serves on
		return "reload failed: " + e.ReloadError.Error()
	}
	place := ""
	if e.Worker != "" {
		place = " at " + slotText(e.Worker, e.Slot)
	}
	serves := e.serves
	if e.Done > 0 {
		serves = counted(e.Done, "process has", "processes have") + " the new code, elsewhere " + serves
	}
	return fmt.Sprintf("reload failed%s, %s: %v", place, serves, e.ReloadError)
}

func (c *call) reloadFailed(err error) error {
	var refused *master.ReloadError
	if !errors.As(err, &refused) {
		return fmt.Errorf("reload: %w", err)
	}
	return failedReload{refused, c.serves()}
}

// serves says who does after a reload that has failed: where no process was before, its
// program not starting for one, there is no old code.
func (c *call) serves() string {
	all, away := 0, []string{}
	if client, err := c.dial(); err == nil {
		defer client.Close()
		if s, err := getStatus(client); err == nil {
			all, away = len(s.Workers), idle(s)
		}
	}
	switch {
	case len(away) == 0:
		return "the old code keeps serving"
	case len(away) == all:
		return "and nobody serves: no process was running that could go on"
	}
	return "the old code keeps serving, but not at " + strings.Join(away, ", ") + ", where no process was running"
}

// idle returns the slots without a process, or with a program beside it that has none.
func idle(s *master.Status) (list []string) {
	for _, w := range s.Workers {
		away := func(p worker.ScriptStats) bool { return p.PID == 0 }
		if w.PID == 0 || slices.ContainsFunc(statsOf(w).Scripts, away) {
			list = append(list, slotText(w.Name, w.Slot))
		}
	}
	return list
}

// progress returns what is called at each step of a reload: a line that
// renews itself on a terminal, nothing elsewhere.
func (c *call) progress() (step func(master.Progress), done func()) {
	if c.json() || !isTerminal(c.out) {
		return nil, func() {}
	}
	step = func(p master.Progress) {
		fmt.Fprintf(c.out, "\r\x1b[Kreload %d/%d  %s %s", p.Done, p.Total, clean(slotText(p.Worker, p.Slot)), clean(p.Step))
	}
	return step, func() { fmt.Fprint(c.out, "\r\x1b[K") }
}

func (c *call) tellReload(r *master.ReloadReport) {
	t := newTable("WORKER", ">OLD PID", ">NEW PID", ">MOVED", ">MS")
	replaced, stayed := 0, 0
	for _, s := range r.Slots {
		for _, one := range s.Scripts {
			if one.NewPID != 0 && one.OldPID == one.NewPID {
				stayed++
			}
			t.add(slotText(s.Worker, s.Slot)+" "+clean(one.Title), pidText(one.OldPID), pidText(one.NewPID), "-", fmt.Sprintf("%.0f", one.PauseMS))
		}
		if replaced += max(len(s.Scripts), 1); len(s.Scripts) > 0 {
			continue
		}
		t.add(slotText(s.Worker, s.Slot), pidText(s.OldPID), pidText(s.NewPID), fmt.Sprint(s.Moved), fmt.Sprint(s.MS))
	}
	if len(r.Slots) > 0 {
		t.write(c.out)
		fmt.Fprintln(c.out)
	}
	fmt.Fprintf(c.out, "reloaded: %s replaced, %s moved, %d asked to come back",
		counted(replaced-stayed, "process", "processes"), counted(r.Moved, "connection", "connections"), r.Drained)
	if r.Moved > 0 {
		fmt.Fprintf(c.out, ", longest pause %.0f ms", r.Pause.Max)
	}
	if stayed > 0 {
		fmt.Fprintf(c.out, ", %s left as the program wants (reload --all)", counted(stayed, "process", "processes"))
	}
	fmt.Fprintln(c.out)
	if m := r.Master; m != nil {
		fmt.Fprintf(c.out, "the master runs %s, before %s, in the same process\n", clean(m.NewVersion), clean(m.OldVersion))
	}
}

// slotText names a process for people; the broker process and the master are
// the only ones of their name.
func slotText(worker string, slot int) string {
	if worker == "broker" || worker == "master" {
		return worker
	}
	return fmt.Sprintf("%s/%d", worker, slot)
}

// counted is "1 process", "2 processes".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func pidText(pid int) string {
	if pid == 0 {
		return "-"
	}
	return fmt.Sprint(pid)
}

// reopen makes all processes write to a new log file; no connection moves.
func reopen(c *call) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	r, err := client.Reopen(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("lines go where they went before: %w", err)
	case c.json():
		return writeJSON(c.out, map[string]any{"ok": true, "log_file": r.LogFile})
	case r.LogFile == "":
		c.say("the log goes to stderr, not to a file: nothing to open")
	default:
		c.say("log %s opened anew", r.LogFile)
	}
	return nil
}
