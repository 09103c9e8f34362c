package fleet

import (
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/load"
)

// Limits of a run and of one agent.
const (
	maxAgents       = 254
	perAddress      = 25_000 // connections from one address to one target; ports are 28,000 by default
	spareFiles      = 1000   // descriptors an agent keeps for connects that are not standing
	sourcesPerAgent = 16
)

// PerAgent is how many standing connections one agent may have.
func PerAgent() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return perAddress / 2
	}
	return max(min(int(limit.Max)-spareFiles, perAddress), 1)
}

// Split shares loads out to agents: at least atLeast of them, and as many as
// the standing connections need. Towards a loopback target each gets source
// addresses of its own.
func Split(loads []load.Spec, atLeast int) ([]Job, error) {
	standing := 0
	loopback := true
	for _, l := range loads {
		standing += l.Connections
		target, err := client.ParseTarget(l.URL, nil)
		if err != nil {
			return nil, err
		}
		loopback = loopback && target.Loopback()
	}
	n := max(atLeast, (standing+PerAgent()-1)/PerAgent(), 1)
	if n > maxAgents {
		return nil, fmt.Errorf("%d connections need %d processes of %d descriptors each, and %d is the most: raise `ulimit -Hn`", standing, n, PerAgent()+spareFiles, maxAgents)
	}
	if standing > perAddress && !loopback {
		return nil, fmt.Errorf("%d connections need several source addresses, which only a target under 127.0.0.0/8 offers: run pushbench on several machines", standing)
	}
	run := rand.Uint32() & (1<<18 - 1)
	jobs := make([]Job, n)
	for i := range jobs {
		jobs[i] = Job{Run: run, Agent: uint32(i), Loads: share(loads, i, n)}
		if loopback {
			jobs[i].Sources = Sources(i)
		}
	}
	return jobs, nil
}

// share gives agent i of n its part of each load.
func share(loads []load.Spec, i, n int) []load.Spec {
	var mine []load.Spec
	for _, l := range loads {
		part := l.Connections*(i+1)/n - l.Connections*i/n
		if part == 0 && l.Connections > 0 {
			continue
		}
		fraction := 1.0
		if l.Connections > 0 {
			fraction = float64(part) / float64(l.Connections)
		}
		l.Connections = part
		l.Rate *= fraction
		l.Churn *= fraction
		l.Window = max(l.Window/n, 1)
		mine = append(mine, l)
	}
	return mine
}

// Sources are the addresses of agent i, 127.0.1.1 upwards. It takes turns with
// several, since connect gets slow when half the ports of an address are taken,
// and a port rests for a while after each connection.
func Sources(i int) []string {
	addresses := make([]string, sourcesPerAgent)
	for k := range addresses {
		at := i*sourcesPerAgent + k
		addresses[k] = fmt.Sprintf("127.0.%d.%d", 1+at/250, 1+at%250)
	}
	return addresses
}
