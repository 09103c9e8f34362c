package main

import (
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"
)

func returnsCommand() *cli.Command {
	return &cli.Command{
		Name:  "returns",
		Usage: "what pushd promises of clients that were away, measured on one of its own and compared with the reach",
		Flags: ownFlags(
			connectionsFlag(15_000),
			&cli.IntFlag{Name: "receivers", Value: 5000, Usage: "of the fan-out, `MANY`"},
			&cli.IntFlag{Name: "messages", Aliases: []string{"m"}, Value: 40, Usage: "of the fan-out, `MANY` a round"},
			&cli.IntFlag{Name: "rounds", Value: 3, Usage: "each way, in turn: what the machine does beside evens out"},
		),
		Action: comeBack,
	}
}

// returnRoutes are what the server of these measurements has: an app for those who
// come back, and a room with a history beside one without.
const returnRoutes = `"/app/{key}" = "pusher", "/kept" = { handler = "notify", options = { anonymous = true, public_history = true, channels = ["kept"] } }, "/plain" = { handler = "notify", options = { anonymous = true, channels = ["plain"] } }`

// returnTables have the back end's requests on a port of their own, as one wants it
// where clients storm.
const returnTables = `[[worker]]
name = "apps"
listen = "http://{apps}"
count = 1
routes = { "/apps/*" = "pusher" }
[[app]]
id = "1"
key = "bench"
secret = "the-secret-of-the-bench"
[[channel]]
match = "bench-*"
app = "1"
history = 200
[[channel]]
match = "kept"
history = 100
`

func comeBack(c *cli.Context) error {
	if c.Int("connections") < 100 || c.Int("rounds") < 1 {
		return fmt.Errorf("%w: --connections is at least 100, --rounds 1", errUsage)
	}
	p := &promises{Context: c, routes: returnRoutes, more: returnTables}
	return p.prove(func() error {
		for _, stage := range []func(*ownServer) error{p.soon, p.much, p.keeping} {
			if err := p.with(2, stage); err != nil {
				return err
			}
		}
		return nil
	})
}

// away has n clients of some channels go, miss messages of each and come back within
// three seconds; ten share a channel.
func (p *promises) away(s *ownServer, n, channels, missed, rate, rounds int) (Report, error) {
	return p.measure(s, "recover", "--url", "ws://"+s.address+"/app/bench", "--api", "http://"+s.apps,
		"--app-id", "1", "--app-key", "bench", "--app-secret", "the-secret-of-the-bench", "-n", strconv.Itoa(n), "--channels", strconv.Itoa(channels), "--rooms", strconv.Itoa(n*channels/10),
		"--missed", strconv.Itoa(missed), "--within", "3s", "--rate", strconv.Itoa(rate), "--rounds", strconv.Itoa(rounds), "--stall", "60s", "--drain", "60s")
}

// soon: they have all soon after they have shaken hands, and back ends feel little
// of it. That nobody misses a message or gets one twice is part of the measurement.
func (p *promises) soon(s *ownServer) error {
	r, err := p.away(s, p.Int("connections"), 3, 5, 1000, p.Int("rounds"))
	if err != nil {
		return err
	}
	beyond, _ := r.Numbers.Get("recovery_beyond_handshakes_s")
	plain, _ := r.Numbers.Get("plain_publish_p99_us")
	ratio, _ := r.Numbers.Get("publish_p99_ratio")
	p.atMost("all have their 3 x 5 messages, after the last handshake", beyond, "s", 3)
	p.atMost(fmt.Sprintf("p99 of a publish meanwhile, by %s ms without positions", short(plain/1000)), ratio, "x", 2)
	return nil
}

// much: two thirds as many have missed a hundred messages each, and have them two
// seconds after the last of them has dialled.
func (p *promises) much(s *ownServer) error {
	r, err := p.away(s, p.Int("connections")*2/3, 1, 100, 0, p.Int("rounds"))
	if err != nil {
		return err
	}
	took, _ := r.Numbers.Get("recovery_s")
	p.atMost("two thirds of them have 100 messages, after the first dial", took, "s", 5)
	return nil
}

// keeping: what a history costs those who are there.
func (p *promises) keeping(s *ownServer) error {
	cpu := map[string]float64{}
	for range p.Int("rounds") {
		for _, room := range []string{"plain", "kept"} {
			r, err := p.measure(s, "fanout", "--url", "ws://"+s.address+"/"+room, "--api", "http://"+s.api, "--key", "bench", "--channel", room,
				"-n", strconv.Itoa(p.Int("receivers")), "-m", strconv.Itoa(p.Int("messages")))
			if err != nil {
				return err
			}
			per, _ := r.Numbers.Get("server_cpu_us_per_delivery")
			cpu[room] += per
		}
	}
	p.atMost(fmt.Sprintf("CPU of a delivery, by %s µs without a history", short(cpu["plain"]/float64(p.Int("rounds")))), cpu["kept"]/cpu["plain"], "x", 1.05)
	return nil
}
