package cmd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// finding is what doctor has to say of one thing.
type finding struct {
	What  string `json:"what"`
	State string `json:"state"` // ok, warn: it will run, fail: it will not
	Says  string `json:"says"`
	Mend  string `json:"mend,omitempty"` // a command or a line of config
}

// States of a finding.
const (
	stateOK   = "ok"
	stateWarn = "warn"
	stateFail = "fail"
)

func fine(what, says string, a ...any) finding {
	return finding{What: what, State: stateOK, Says: fmt.Sprintf(says, a...)}
}

func (f finding) warn(mend string, a ...any) finding { return f.as(stateWarn, mend, a) }
func (f finding) fail(mend string, a ...any) finding { return f.as(stateFail, mend, a) }

func (f finding) as(state, mend string, a []any) finding {
	f.State, f.Mend = state, fmt.Sprintf(mend, a...)
	return f
}

// doctor looks at the machine and the config as a start would meet them, and
// says how each fault is mended. It changes nothing.
func doctor(c *call) error {
	if cfg, _ := config.Load(c.source()); cfg != nil { // faults are told below
		if uid := serversUser(cfg); uid != os.Geteuid() {
			return c.doctorAs(uid, cfg)
		}
	}
	findings := c.examine(thisMachine)
	if c.json() {
		if err := writeJSON(c.out, map[string]any{"ok": !failed(findings), "findings": findings}); err != nil {
			return err
		}
	} else {
		tellFindings(c, findings)
	}
	if failed(findings) {
		return errTold
	}
	return nil
}

// examine makes all findings. Without a valid config it looks at the machine
// alone.
func (c *call) examine(m machine) (out []finding) {
	out = append(out, fine("user", "all of this is as %s (%d) meets it", currentUser(), os.Geteuid()))
	cfg, err := c.program.load(c.source())
	var p *master.Plan
	if err == nil {
		p, err = c.program.makePlan(cfg)
	}
	var list config.Errors
	switch {
	case errors.As(err, &list):
		for _, e := range list {
			out = append(out, fine("config", "%v", e).fail("mend that line, then `%s check`", c.program.typed()))
		}
	case err != nil:
		out = append(out, fine("config", "%v", err).fail("`%s check`", c.program.typed()))
	default:
		out = append(out, c.examineConfig(cfg, m)...)
		if !failed(out) { // what is told already need not be told in other words
			out = append(out, c.rehearsed(cfg, p)...)
		}
		out = append(out, c.ails(cfg.RuntimeDir)...)
	}
	return append(out, m.examine()...)
}

func (c *call) examineConfig(cfg *config.Config, m machine) (out []finding) {
	from := cfg.File
	if from == "" {
		from = "built-in defaults"
	}
	out = append(out, fine("config", "%s is valid", from))
	for _, n := range notes(cfg) {
		out = append(out, fine("config", "%s", n).warn("see docs/reference.md"))
	}
	out = append(out, origins(cfg)...)
	former := c.former()
	data := folder("data_dir", cfg.DataDir, append(slices.Clone(former), brokerOwner(cfg)...)...)
	if data.State == stateFail && c.program.dataDir(cfg, former) == nil { // nothing needs it
		data.State = stateWarn
	}
	out = append(out, runtimeFolder(cfg), data)
	out = append(out, keyFile(cfg)...)
	if pid, ok := master.MasterPID(cfg.RuntimeDir); ok {
		out = append(out, fine("ports", "pushd runs as pid %d and holds its ports", pid))
		if err := c.running(pid, cfg.RuntimeDir); errors.As(err, new(*unanswered)) {
			out = append(out, fine("control.sock", "%v", err).fail("kill -USR1 %d", pid))
		}
		return append(out, c.goneSockets(cfg)...)
	}
	return append(out, ports(cfg, m)...)
}

// rehearsed is what check would say of a start.
func (c *call) rehearsed(cfg *config.Config, p *master.Plan) (out []finding) {
	remarks, err := c.rehearse(cfg, p, nil, c.former()...)
	var list config.Errors
	if errors.As(err, &list) {
		for _, e := range list {
			out = append(out, fine("start", "%v", e).fail("mend that, then `%s check`", c.program.typed()))
		}
	}
	for _, r := range remarks {
		switch f := fine("start", "%s", r.says); {
		case r.mend == "":
		case r.fails:
			out = append(out, f.fail("%s", r.mend))
		default:
			out = append(out, f.warn("%s", r.mend))
		}
	}
	return out
}

func failed(findings []finding) bool {
	for _, f := range findings {
		if f.State == stateFail {
			return true
		}
	}
	return false
}

func tellFindings(c *call, findings []finding) {
	bad, on := map[string]int{}, c.screen()
	for _, f := range findings {
		bad[f.State]++
		fmt.Fprintf(c.out, "%s %-12s %s\n", on.paint(fmt.Sprintf("%-5s", f.State)), f.What, clean(f.Says))
		if f.Mend != "" {
			fmt.Fprintf(c.out, "%-5s %-12s → %s\n", "", "", clean(f.Mend))
		}
	}
	fmt.Fprintln(c.out, strings.Join([]string{
		counted(bad[stateFail], "thing has to be mended", "things have to be mended"),
		counted(bad[stateWarn], "warning", "warnings"),
	}, ", "))
}
