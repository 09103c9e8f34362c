package cmd

import (
	"errors"
	"fmt"
	"io"

	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/protocol/control"
)

// machines lists the machines that share the bus.
func machines(c *call) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := getStatus(client)
	if err != nil {
		return err
	}
	if s.NodesUnknown != "" {
		return fmt.Errorf("which nodes there are is not known now: %s; ask again, or look into the log", s.NodesUnknown)
	}
	if c.json() {
		return writeJSON(c.out, map[string]any{"nodes": append([]control.Node{}, s.Nodes...)})
	}
	if len(s.Nodes) == 0 {
		return errors.New("this pushd is alone: several machines share a NATS by [broker] url, see docs/cluster.md")
	}
	tellNodes(c.out, s, c.screen())
	return nil
}

// tellNodes has a line for each machine, and says what somebody has to look at.
func tellNodes(out io.Writer, s *master.Status, on screen) {
	if s.NodesUnknown != "" {
		fmt.Fprintf(out, "nodes: not known now: %s\n", clean(s.NodesUnknown))
	}
	if len(s.Nodes) == 0 {
		return
	}
	t := newTable("NODE", "STATE", "VERSION", ">WORKERS", ">CONNS", ">RTT", "BUS")
	t.paint = on.paint
	others := ""
	for _, n := range s.Nodes {
		name, rtt := n.Node, "-"
		if n.Self {
			name += " (this)"
		}
		if n.RTTMS > 0 {
			rtt = fmt.Sprintf("%.1fms", n.RTTMS)
		}
		t.add(clean(name), clean(n.State), clean(n.Version), fmt.Sprint(n.Workers), fmt.Sprint(n.Connections), rtt, clean(n.URL))
		if n.OtherApps {
			others += " " + n.Node
		}
	}
	t.write(out)
	if others != "" {
		fmt.Fprintf(out, "other [[app]] or [[channel]] than here:%s; their clients and back ends are not told the same\n", clean(others))
	}
}
