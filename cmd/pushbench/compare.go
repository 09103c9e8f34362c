package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/chart"
	"github.com/pushd/pushd/cmd/pushbench/compare"
)

func compareCommand() *cli.Command {
	return &cli.Command{
		Name:  "compare",
		Usage: "start pushd and its peers in turn, measure each, and print the table of the README",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "pushd", Value: "bin/pushd", Usage: "`PROGRAM`"},
			&cli.StringFlag{Name: "peers", Value: "bin/peers", Usage: "`PROGRAM` that is all the others"},
			&cli.StringFlag{Name: "others", Value: "bin", Usage: "`FOLDER` of Centrifugo and Soketi, which make bin/centrifugo and make bin/soketi put there; who is not there is named"},
			&cli.StringFlag{Name: "only", Usage: "`NAMES` of servers, separated by commas"},
			&cli.IntFlag{Name: "rounds", Value: 5, Usage: "how `OFTEN` each is measured"},
			&cli.IntFlag{Name: "loops", Usage: "event `LOOPS` of each server: workers of pushd, loops and GOMAXPROCS of the others; 0: as many as servers have cores"},
			&cli.BoolFlag{Name: "pinned", Usage: "half of the cores for the servers, half for the client: none takes time from the other"},
			&cli.IntFlag{Name: "idle", Value: 15_000, Usage: "idle `CONNECTIONS`"},
			&cli.IntFlag{Name: "receivers", Value: 10_000, Usage: "`CONNECTIONS` that a fan-out reaches"},
			&cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, Value: 2 * time.Second, Usage: "how `LONG` echo and connect take"},
			&cli.DurationFlag{Name: "hold", Value: 65 * time.Second, Usage: "how `LONG` pushd's idle CPU is watched: more than one heartbeat"},
			&cli.BoolFlag{Name: "strict", Usage: "exit 1 when pushd misses a line"},
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "write NAME.json, NAME.md and NAME.svg with this `NAME`"},
			&cli.StringFlag{Name: "from", Usage: "measure nothing: the tables of this `FILE`, which an earlier --out wrote"},
			&cli.StringFlag{Name: "into", Usage: "put the tables into these `FILES`, separated by commas, where comments mark their place"},
		},
		Action: compareServers,
	}
}

func compareServers(c *cli.Context) error {
	r, err := comparison(c)
	if err != nil {
		return err
	}
	table := fmt.Sprintf("%s\n%s", r.Markdown(), r.All())
	if _, err := fmt.Fprint(c.App.Writer, table); err != nil {
		return err
	}
	if name := c.String("out"); name != "" {
		if err := saveComparison(name, r, table); err != nil {
			return err
		}
	}
	for _, file := range strings.FieldsFunc(c.String("into"), func(r rune) bool { return r == ',' }) {
		if err := errors.Join(compare.Insert(file, "verdict", r.Markdown()), compare.Insert(file, "all", r.All())); err != nil {
			return err
		}
	}
	if faults := r.Faults(); len(faults) > 0 {
		return fmt.Errorf("not every byte was accounted for:\n%s", strings.Join(faults, "\n"))
	}
	if missed := r.Missed(); len(missed) > 0 && c.Bool("strict") {
		return fmt.Errorf("pushd misses:\n%s", strings.Join(missed, "\n"))
	}
	return nil
}

// comparison measures, or reads what was measured.
func comparison(c *cli.Context) (*compare.Result, error) {
	if file := c.String("from"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		r := &compare.Result{}
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return r, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := compare.Options{
		Bench: self, Pushd: c.String("pushd"), Peers: c.String("peers"), Others: c.String("others"), Pinned: c.Bool("pinned"),
		Rounds: c.Int("rounds"), Loops: c.Int("loops"), Idle: c.Int("idle"), Fan: c.Int("receivers"),
		Duration: c.Duration("duration"), Hold: c.Duration("hold"), Calm: 10 * time.Second, Timed: 100, Log: c.App.ErrWriter,
	}
	if only := c.String("only"); only != "" {
		o.Only = strings.Split(only, ",")
	}
	return compare.Measure(c.Context, o)
}

// saveComparison writes the raw numbers, the tables and the plot of memory.
func saveComparison(name string, r *compare.Result, table string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	drawing := chart.Bars{Title: "Memory per idle WebSocket connection", Unit: "B", Highlight: "pushd", Log: true}
	for label, bytes := range r.Memory() {
		drawing.Add(label, bytes)
	}
	return errors.Join(
		os.MkdirAll(filepath.Dir(name), 0o755),
		os.WriteFile(name+".json", append(text, '\n'), 0o644),
		os.WriteFile(name+".md", []byte(table), 0o644),
		os.WriteFile(name+".svg", drawing.SVG(), 0o644),
	)
}
