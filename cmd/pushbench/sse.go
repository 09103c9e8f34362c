package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
)

func sseCommand() *cli.Command {
	return &cli.Command{
		Name:  "sse",
		Usage: "streams of events and long polls of a pushd of one's own, compared with WebSockets in the same run and with the reach",
		Flags: ownFlags(
			connectionsFlag(15_000),
			&cli.IntFlag{Name: "receivers", Value: 5000, Usage: "of the fan-out, `MANY`"},
			&cli.IntFlag{Name: "polls", Value: 10_000, Usage: "that wait, `MANY`"},
			&cli.IntFlag{Name: "messages", Aliases: []string{"m"}, Value: 40, Usage: "of the fan-out, `MANY` a round"},
			&cli.IntFlag{Name: "rounds", Value: 3, Usage: "of the fan-out each way, in turn: what the machine does beside evens out"},
			&cli.DurationFlag{Name: "life", Value: 60 * time.Second, Usage: "of a `TOKEN`; three of them end"},
			&cli.IntFlag{Name: "times", Value: 10, Usage: "reloads under publishes"},
		),
		Action: streams,
	}
}

// streamRoutes are what the server of these measurements has, streamRoom is the room
// with a history, which all are in, however they come.
const streamRoutes = `"/.well-known/mercure" = { handler = "mercure", options = { hub = "` + ownHub + `", issuer = "http://localhost", secret = "` + ownHubSecret + `" } }, "/open" = { handler = "notify", options = { anonymous = true, public_history = true, channels = ["bench0"] } }`

const (
	ownHub       = "http://localhost/.well-known/mercure"
	ownHubSecret = "the secret of a hub that a benchmark has for itself"
)

const streamRoom = "[[channel]]\nmatch = \"bench0\"\nhistory = 10000\n"

func streams(c *cli.Context) error {
	if c.Int("times") < 1 || c.Int("rounds") < 1 || c.Int("polls") < 1 || c.Int("connections") < 1 {
		return fmt.Errorf("%w: --connections, --polls, --rounds and --times are at least 1", errUsage)
	}
	p := &promises{Context: c, routes: streamRoutes, more: streamRoom}
	return p.prove(p.streamStages)
}

func (p *promises) streamStages() error {
	bytes, err := p.each(p.idleBytes, "ws", "sse", "poll")
	if err != nil {
		return err
	}
	p.atMost("idle stream, beside an idle WebSocket's "+short(bytes["ws"]), bytes["sse"]-bytes["ws"], "B", 80)
	p.atMost("poll that waits", bytes["poll"], "B", 800)
	reload, err := p.each(p.reloadTime, "ws", "poll")
	if err != nil {
		return err
	}
	p.atMost("reload with polls that wait, by that with WebSockets", reload["poll"]/reload["ws"], "x", 1.5)
	for _, stage := range []func(*ownServer) error{p.fanouts, p.streamsReload, p.pollsReload, p.tokens} {
		if err := p.with(2, stage); err != nil {
			return err
		}
	}
	return nil
}

// each measures the same of several ways, each on a server of its own.
func (p *promises) each(measure func(*ownServer, string) (float64, error), ways ...string) (map[string]float64, error) {
	values := map[string]float64{}
	for _, way := range ways {
		if err := p.with(2, func(s *ownServer) (err error) { values[way], err = measure(s, way); return err }); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// at is where the server is heard in a way.
func (s *ownServer) at(way string) string {
	url := way + "://" + s.address + "/open"
	if way == "poll" {
		url += "?poll=1m"
	}
	return url
}

// master returns the root of the server's processes.
func (s *ownServer) master(ctx context.Context) (int, error) {
	raw, err := s.run(ctx, "status", "--json")
	if err != nil {
		return 0, err
	}
	var st ownStatus
	err = json.Unmarshal(raw, &st)
	return st.Master.PID, err
}

// measure runs a command of ours against the server.
func (p *promises) measure(s *ownServer, command string, flags ...string) (r Report, err error) {
	pid, err := s.master(p.Context.Context)
	if err != nil {
		return r, err
	}
	return p.measureAt(pid, command, flags...)
}

// idleBytes is what one that waits costs the server.
func (p *promises) idleBytes(s *ownServer, way string) (float64, error) {
	n := p.Int("connections")
	if way == "poll" {
		n = p.Int("polls")
	}
	r, err := p.measure(s, "idle", "--url", s.at(way), "-n", strconv.Itoa(n), "--hold", "0s")
	if err != nil {
		return 0, err
	}
	per, _ := r.Numbers.Get("server_bytes_per_connection")
	return per, nil
}

// reloadTime is what a reload takes, in seconds, with as many as there are polls.
func (p *promises) reloadTime(s *ownServer, way string) (float64, error) {
	r, err := p.measure(s, "idle", "--url", s.at(way), "-n", strconv.Itoa(p.Int("polls")), "--settle", "1s", "--hold", "0s",
		"--exec", fmt.Sprintf("'%s' reload -c '%s'", s.program, s.config))
	if err != nil {
		return 0, err
	}
	took, _ := r.Numbers.Get("execution_s")
	return took, nil
}

// fanouts has the two ways in turn.
func (p *promises) fanouts(s *ownServer) error {
	cpu := map[string]float64{}
	for range p.Int("rounds") {
		for _, way := range []string{"ws", "sse"} {
			r, err := p.measure(s, "fanout", "--url", s.at(way), "--api", "http://"+s.api, "--key", "bench", "--channel", "bench0",
				"-n", strconv.Itoa(p.Int("receivers")), "-m", strconv.Itoa(p.Int("messages")))
			if err != nil {
				return err
			}
			per, _ := r.Numbers.Get("server_cpu_us_per_delivery")
			cpu[way] += per
		}
	}
	p.atMost(fmt.Sprintf("CPU of a delivery, by WebSocket's %s µs", short(cpu["ws"]/float64(p.Int("rounds")))), cpu["sse"]/cpu["ws"], "x", 1.1)
	return nil
}

func (p *promises) streamsReload(s *ownServer) error {
	return p.reloading(s, "streams", "sse", p.Int("connections"), p.Int("times"))
}

// pollsReload has fewer of them: each message makes each ask again.
func (p *promises) pollsReload(s *ownServer) error {
	return p.reloading(s, "polls", "poll", p.Int("polls")/4, max(p.Int("times")/2, 1))
}

// tokens has pages whose tokens end: they come back, spread over a tenth of the time,
// and miss nothing.
func (p *promises) tokens(s *ownServer) error {
	life := p.Duration("life")
	r, err := p.measure(s, "tokens", "--url", "sse://"+s.address+"/.well-known/mercure", "--hub", ownHub, "--secret", ownHubSecret,
		"-n", strconv.Itoa(p.Int("connections")), "--life", life.String(), "--stall", "2m", "--drain", "1m")
	if err != nil {
		return err
	}
	share, _ := r.Numbers.Get("returns_share_of_a_second")
	lost, _ := r.Numbers.Get("messages_lost")
	twice, _ := r.Numbers.Get("messages_twice")
	p.atMost(fmt.Sprintf("tokens of %s: returns in the fullest second, by an even spread over a tenth of that", life), share*life.Seconds()/10, "x", 2)
	p.atMost("messages lost or twice over three ends of each token", lost+twice, "", 0)
	return nil
}

// reloading counts what reloads under publishes cost those who listen.
func (p *promises) reloading(s *ownServer, name, way string, n, times int) error {
	path := "/open"
	if way == "poll" {
		path += "?poll=1m"
	}
	r, outcomes, err := p.loadBy(way, s, times, "--idle", "0", "--echoes", "0", "--echo-rate", "0", "--connect-rate", "0", "--slow", "0", "--churn", "0", "--talk-rate", "0",
		"--channels", "1", "--members", strconv.Itoa(n), "--prefix", "", "--chat-path", path, "--publish-rate", "0.5", "--publishers", "1", "--drain", "30s")
	if err != nil {
		return err
	}
	var failed float64
	for _, o := range outcomes {
		if !o.OK {
			failed++
		}
	}
	open, _ := r.Numbers.Get("connections")
	p.atLeast(name+" that listen", open, "", float64(n))
	p.atLeast("reloads under publishes, of "+name, float64(len(outcomes))-failed, "", float64(times))
	for _, kind := range []string{"closed", "loss", "duplicate", "reorder", "corrupt", "refused"} {
		faults, _ := r.Numbers.Get("faults_" + kind)
		p.atMost(name+": "+kind, faults, "", 0)
	}
	return nil
}
