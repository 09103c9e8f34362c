package cmd

import "github.com/pushd/pushd/master"

// ails is what a pushd that runs says of itself that somebody has to look at.
func (c *call) ails(dir string) []finding {
	client, err := master.Dial(dir)
	if err != nil {
		return nil // there is none, or it is told that it does not answer
	}
	defer client.Close()
	s, err := getStatus(client)
	if err != nil {
		return []finding{fine("status", "%v", err).fail("look into the log")}
	}
	return c.ailing(s)
}

func (c *call) ailing(s *master.Status) (out []finding) {
	look := "`" + c.program.typed() + " status` says when it is over, the log how it came; docs/cluster.md has what to do about NATS and nodes"
	for _, w := range s.Workers {
		if w.State == master.Degraded {
			out = append(out, fine("worker", "%s/%d dies again and again", w.Name, w.Slot).fail("look into the log"))
		}
	}
	if s.Broker.State == master.Degraded {
		out = append(out, fine("broker", "the broker process dies again and again").fail("look into the log"))
	}
	for _, service := range s.Services {
		out = append(out, fine(service.Service, "%s", service.Says).fail("%s", look))
	}
	if s.NodesUnknown != "" {
		out = append(out, fine("nodes", "not known now: %s", s.NodesUnknown).warn("%s", look))
	}
	for _, n := range s.Nodes {
		if n.State == "quiet" || n.State == "lost" {
			out = append(out, fine("nodes", "%s is %s: not heard for %d s", n.Node, n.State, n.SilentS).warn("%s", look))
		}
		if n.OtherApps {
			out = append(out, fine("nodes", "%s has other [[app]] or [[channel]]", n.Node).warn("give all nodes the same"))
		}
	}
	return out
}
