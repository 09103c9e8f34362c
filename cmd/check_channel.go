package cmd

import (
	"fmt"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
)

// holding is what holds for a channel: one property, and which line says so.
type holding struct {
	Property string `json:"property"`
	Value    any    `json:"value"`
	From     string `json:"from"`
}

// tellChannel prints what holds for the channel of that name on the bus.
func (c *call) tellChannel(cfg *config.Config, name string) error {
	rows := c.program.holdings(cfg, name)
	if c.json() {
		return writeJSON(c.out, map[string]any{"ok": true, "channel": name, "holds": rows})
	}
	t := newTable("PROPERTY", "VALUE", "FROM")
	for _, r := range rows {
		t.add(r.Property, fmt.Sprint(r.Value), r.From)
	}
	t.write(c.out)
	if channel.Bare(name) != name {
		fmt.Fprintf(c.out, "\nnote: channels of an app have its id before their names: ID:%s\n", clean(name))
	}
	return nil
}

// holdings lists history, age and mode, and what each group does for who reads
// too slowly.
func (p *Program) holdings(cfg *config.Config, name string) []holding {
	spec := processSpec{Channels: cfg.Rules(), Services: cfg.Services()}
	written := len(p.channels(spec))
	rules, _ := p.allChannels(spec) // whose apps have been checked
	policy, from := rules.Trace(name)
	place := func(rule int) string {
		switch {
		case rule < 0, rule >= written:
			return "default"
		case rule < len(cfg.Channels):
			return cfg.Channels[rule].At
		}
		return "the program's workers"
	}
	rows := []holding{{"history", policy.History, place(from.History)}}
	if policy.History > 0 {
		if from.History < 0 {
			rows[0].From = place(from.Mode) // "latest" says it
		}
		rows = append(rows, holding{"age", policy.Age.String(), place(from.Age)}, holding{"mode", policy.Mode, place(from.Mode)})
	}
	slow := func(group string, s *worker.Settings) {
		row := holding{"slow in " + group, s.Slow, "slow of the group"}
		if own, rule := s.SlowOf(name); rule >= 0 {
			row.Value, row.From = own, fmt.Sprintf("channels[%d] of the group", rule)
		} else if policy.Slow != "" {
			row.Value, row.From = policy.Slow, place(from.Slow)
		}
		rows = append(rows, row)
	}
	for i := range cfg.Workers {
		slow(cfg.Workers[i].Name, &cfg.Workers[i].Settings)
	}
	for _, w := range p.Workers {
		slow(w.Name, &w.Settings)
	}
	return rows
}
