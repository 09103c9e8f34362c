package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/chart"
)

func plotCommand() *cli.Command {
	return &cli.Command{
		Name:      "plot",
		Usage:     "draw one number of several results as an SVG bar chart",
		ArgsUsage: "RESULT.json…",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "metric", Value: "server_bytes_per_connection", Usage: "which `NUMBER`; results of one label give their median"},
			&cli.StringFlag{Name: "title", Value: "Memory per idle WebSocket connection", Usage: "`TEXT` above"},
			&cli.StringFlag{Name: "unit", Value: "B", Usage: "`TEXT` behind each value"},
			&cli.StringFlag{Name: "highlight", Value: "pushd", Usage: "`LABEL` to draw in colour"},
			&cli.BoolFlag{Name: "log", Usage: "logarithmic scale"},
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "write to `FILE` instead of the standard output"},
		},
		Action: plot,
	}
}

func plot(c *cli.Context) error {
	if c.NArg() == 0 {
		return fmt.Errorf("%w: name at least one result file", errUsage)
	}
	drawing := chart.Bars{Title: c.String("title"), Unit: c.String("unit"), Highlight: c.String("highlight"), Log: c.Bool("log")}
	for _, file := range c.Args().Slice() {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read result: %w", err)
		}
		var r Report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("result %s: %w", filepath.Base(file), err)
		}
		value, ok := r.Numbers.Get(c.String("metric"))
		if !ok {
			return fmt.Errorf("result %s has no number %q", file, c.String("metric"))
		}
		drawing.Add(r.Label, value)
	}
	svg := drawing.SVG()
	if file := c.String("out"); file != "" {
		return os.WriteFile(file, svg, 0o644)
	}
	_, err := c.App.Writer.Write(svg)
	return err
}
