package cmd

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// remark is what there is to say of a config that could be carried out.
type remark struct {
	says  string
	fails bool   // a start would not get through at the moment
	mend  string // a command, or what to do; "" = doctor says so elsewhere
}

// rehearse fails if p could not be carried out here and now. Addresses that
// are in use by others than the pushd that runs with this config are remarks.
// data_dir may be that of former too, the user of the broker process before.
func (c *call) rehearse(cfg *config.Config, p *master.Plan, taken []master.Socket, former ...int) (remarks []remark, err error) {
	found, busy := master.Rehearse(context.Background(), p, taken)
	bad, objections := master.CheckCopies(p)
	var errs config.Errors
	for _, o := range append(found, bad...) {
		if o.Subject == "runtime_dir" && unitMakes(cfg) {
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", cfg.Place(o.Subject), o.Err))
	}
	for _, o := range objections {
		remarks = append(remarks, remark{says: fmt.Sprintf("%s: %v", cfg.Place(o.Subject), o.Err),
			mend: "put a better file there, which is taken over within a minute, or at once by `" + c.program.typed() + " reload`"})
	}
	if err := c.program.dataDir(cfg, former); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", cfg.Place("data_dir"), err))
	} else if err := master.Writable(cfg.DataDir); err != nil {
		remarks = append(remarks, remark{says: fmt.Sprintf("%s: %v: what a broker process leaves for the next one, as a history in memory, is lost", cfg.Place("data_dir"), err)})
	}
	pid, runs := master.MasterPID(cfg.RuntimeDir)
	for _, o := range busy { // the end of the one that runs would not free it
		var data *master.DataInUseError
		if runs && errors.As(o.Err, &data) && data.PID > 0 && data.PID != pid {
			errs = append(errs, fmt.Errorf("%s: %w", cfg.Place(o.Subject), o.Err))
		}
	}
	if len(errs) > 0 {
		return nil, cannotStart(errs)
	}
	if err := c.program.reachBus(cfg, runs); err != nil {
		remarks = append(remarks, remark{fmt.Sprintf("%s: a start would fail now: %v", cfg.Place("broker.url"), err), true, gettingIn(err)})
	}
	remarks = append(append(remarks, inTheWay(cfg, busy, runs)...), roomForLog(cfg)...)
	return append(remarks, c.roomForData(cfg)...), nil
}

// inTheWay says what would keep a start from getting through. What the pushd that runs
// has, its end would free.
func inTheWay(cfg *config.Config, busy []master.Obstacle, runs bool) (remarks []remark) {
	for _, o := range busy {
		full := errors.Is(o.Err, syscall.ENOSPC)
		if runs && !full {
			continue
		}
		verb, mend := "start", "end the other one, or choose another "+o.Subject
		if runs {
			verb = "restart"
		}
		if full {
			mend = makingRoom
		}
		remarks = append(remarks, remark{fmt.Sprintf("%s: a %s would fail now: %v", cfg.Place(o.Subject), verb, elsewhere(o.Err, cfg)), true, mend})
	}
	return remarks
}

const makingRoom = "make room: df -h, and df -i for the number of files"

// roomForLog says that lines of the log are lost, since its disk is full.
func roomForLog(cfg *config.Config) []remark {
	if cfg.LogFile == "" || master.Room(cfg.LogFile) == nil {
		return nil
	}
	return []remark{{fmt.Sprintf("%s: %v at %s: lines are lost until there is room", cfg.Place("log_file"), syscall.ENOSPC, cfg.LogFile), false, makingRoom}}
}

// roomForData says that nothing can be written into data_dir, since the disk is full.
func (c *call) roomForData(cfg *config.Config) []remark {
	err := master.Room(cfg.DataDir)
	if err == nil {
		return nil
	}
	says := fmt.Sprintf("%s: %v: what is kept there cannot be written now", cfg.Place("data_dir"), err)
	writesKey := c.program.dataFor(cfg) == forKey
	if writesKey {
		says = fmt.Sprintf("%s: a start would fail now: %v", cfg.Place("data_dir"), err)
	}
	return []remark{{says, writesKey, makingRoom}}
}

// cannotStart introduces what stands in the way of a config that is valid.
func cannotStart(errs config.Errors) error {
	if len(errs) == 1 {
		return fmt.Errorf("this cannot start here: %w", errs)
	}
	return fmt.Errorf("this cannot start here:\n%w", errs)
}
