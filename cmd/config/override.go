package config

import (
	"fmt"
	"slices"
	"strings"
)

// Override is what PUSHD_LISTEN and PUSHD_COUNT say.
type Override struct {
	Listen []string // nil = unset; entries may lack a scheme
	Count  int      // -1 = unset, 0 = CPUs()
}

// Target is a worker group that an Override may change.
type Target struct {
	Listen *[]string
	Count  *int
}

// Apply changes the groups. The only group takes all addresses; of several,
// each address goes to the one that listens on the same scheme.
func (o Override) Apply(groups []Target) error {
	if o.Count >= 0 {
		if len(groups) != 1 {
			return fmt.Errorf("PUSHD_COUNT: needs exactly one worker group, there are %d", len(groups))
		}
		*groups[0].Count = o.Count
	}
	if o.Listen == nil || len(groups) == 0 {
		return nil
	}
	listen := make([]string, len(o.Listen))
	for i, addr := range o.Listen {
		listen[i] = withScheme(addr, *groups[0].Listen)
	}
	if len(groups) == 1 {
		*groups[0].Listen = listen
		return nil
	}
	for _, addr := range listen {
		to := byScheme(groups, addr)
		if len(to) != 1 {
			return fmt.Errorf("PUSHD_LISTEN: %s: %d of the worker groups listen on that scheme alone, it takes one", addr, len(to))
		}
		*to[0].Listen = []string{addr}
	}
	return nil
}

// withScheme completes "127.0.0.1:9000" with the scheme of the address that it
// replaces.
func withScheme(addr string, old []string) string {
	if strings.Contains(addr, "://") || len(old) == 0 {
		return addr
	}
	return Scheme(old[0]) + "://" + addr
}

// Gave reports whether one of the addresses of a group is of PUSHD_LISTEN.
func (o Override) Gave(listen []string) bool {
	return slices.ContainsFunc(listen, func(addr string) bool {
		return slices.ContainsFunc(o.Listen, func(given string) bool { return addr == given || strings.HasSuffix(addr, "://"+given) })
	})
}

func byScheme(groups []Target, addr string) (out []Target) {
	for _, g := range groups {
		if len(*g.Listen) == 1 && Scheme((*g.Listen)[0]) == Scheme(addr) {
			out = append(out, g)
		}
	}
	return out
}

// Scheme returns what stands before "://", aliases resolved: ws, and of those
// behind TLS wss and https too.
func Scheme(addr string) string {
	scheme, _, _ := strings.Cut(addr, "://")
	switch scheme {
	case "ws":
		return "websocket"
	case "wss":
		return "websocket+tls"
	case "https":
		return "http+tls"
	}
	return scheme
}

func (t *table) override() Override {
	o := Override{Count: -1}
	if v := t.env("PUSHD_LISTEN"); v != "" {
		o.Listen = splitList(v)
	}
	if t.env("PUSHD_COUNT") != "" {
		n := 0
		t.table("", nil, "PUSHD_").integer("count", &n)
		o.Count = n
	}
	return o
}

// replaced notes what of a group stands in the file and counts no more.
func (t *table) replaced(before, after Worker) {
	if after.declared { // nothing of it counted before, see Unread
		return
	}
	if before.listenAt != "" && !slices.Equal(before.Listen, after.Listen) {
		t.overrides("PUSHD_LISTEN", value{before.Listen, before.listenAt, false}, "")
	}
	if before.countAt != "" && before.Count != after.Count {
		t.overrides("PUSHD_COUNT", value{before.Count, before.countAt, false}, "")
	}
}

// apply applies the override to the groups of the config.
func (t *table) apply(c *Config) {
	targets, before := make([]Target, len(c.Workers)), slices.Clone(c.Workers)
	for i := range c.Workers {
		targets[i] = Target{Listen: &c.Workers[i].Listen, Count: &c.Workers[i].Count}
	}
	if err := c.Override.Apply(targets); err != nil {
		t.errs = append(t.errs, err)
	}
	for i, w := range c.Workers {
		t.replaced(before[i], w)
	}
	for i := range c.Workers {
		if c.Workers[i].declared { // the plan asks the program
			c.Workers[i].Listen = nil
			continue
		}
		if c.Override.Listen != nil {
			t.checkListens("PUSHD_LISTEN", c.Workers[i].Listen)
			for _, addr := range c.Workers[i].Listen {
				c.places[addr] = "PUSHD_LISTEN"
			}
		}
	}
}
