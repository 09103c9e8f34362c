package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/compare"
)

func millionCommand() *cli.Command {
	return &cli.Command{
		Name:  "million",
		Usage: "a million idle connections to a pushd of its own on this machine, a broadcast to all, a reload, and another",
		Flags: []cli.Flag{
			connectionsFlag(1_000_000),
			&cli.StringFlag{Name: "pushd", Value: "bin/pushd", Usage: "`PROGRAM`"},
			&cli.DurationFlag{Name: "hold", Value: 65 * time.Second, Usage: "how `LONG` idle CPU is watched"},
			&cli.BoolFlag{Name: "anyway", Usage: "try even if settings of the machine do not allow it"},
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "write the JSON to `FILE`"},
		},
		Action: million,
	}
}

func million(c *cli.Context) error {
	n := c.Int("connections")
	if missing := compare.Needs(n); len(missing) > 0 {
		text := fmt.Sprintf("this machine does not allow %d connections:\n  %s", n, strings.Join(missing, "\n  "))
		if !c.Bool("anyway") {
			return errors.New(text)
		}
		_, _ = fmt.Fprintln(c.App.ErrWriter, text)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out := c.String("out")
	if out != "" {
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return err
		}
	}
	o := compare.Options{Bench: self, Pushd: c.String("pushd"), Idle: n, Hold: c.Duration("hold")}
	err = compare.Million(c.Context, o, out, c.App.Writer, c.App.ErrWriter)
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		return errFaulty // it has said what
	}
	return err
}
