package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/load"
	"github.com/pushd/pushd/cmd/pushbench/payload"
	"github.com/pushd/pushd/cmd/pushbench/publish"
)

// commonFlags are those of every command that makes load.
func commonFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "url", Usage: "WebSocket `URL` of the server, ws:// or wss://host:port/path"},
		&cli.StringFlag{Name: "label", Value: "server", Usage: "`NAME` of the server in results and plots"},
		&cli.IntFlag{Name: "pid", Usage: "root `PID` of the server on this machine: measures its memory, CPU and context switches"},
		&cli.IntFlag{Name: "procs", Value: 1, Usage: "client processes, at `LEAST`; more are started when connections need them"},
		&cli.IntFlag{Name: "window", Value: 128, Usage: "`DIALS` under way at a time while opening"},
		&cli.StringFlag{Name: "origin", Usage: "Origin `HEADER` to send"},
		&cli.BoolFlag{Name: "foreign-ok", Usage: "accept messages that are not ours, such as greetings"},
		&cli.BoolFlag{Name: "json", Usage: "print the raw numbers as JSON"},
		&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "also write the JSON to `FILE`"},
	}, more...)
}

func connectionsFlag(n int) cli.Flag {
	return &cli.IntFlag{Name: "connections", Aliases: []string{"c", "n"}, Value: n, Usage: "how `MANY` connections"}
}

func sizeFlag() cli.Flag {
	return &cli.IntFlag{Name: "size", Value: 128, Usage: fmt.Sprintf("`BYTES` per message, %d to %d", payload.Header, payload.MaxSize)}
}

func durationFlag() cli.Flag {
	return &cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, Value: 10 * time.Second, Usage: "how `LONG` to measure; verify and mix with 0: until standard input ends"}
}

func drainFlag() cli.Flag {
	return &cli.DurationFlag{Name: "drain", Value: 10 * time.Second, Usage: "how `LONG` to wait for what is on its way at the end"}
}

func stallFlag() cli.Flag {
	return &cli.DurationFlag{Name: "stall", Value: 10 * time.Second, Usage: "give up `AFTER` so long without progress"}
}

// publishFlags are those of commands that push as a back end does.
func publishFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "api", Usage: "push through the HTTP API at this base `URL`, or an ingest port, udp://… or tcp://…"},
		&cli.StringFlag{Name: "key", EnvVars: []string{"PUSHD_API_KEY"}, Usage: "bearer `KEY` of the API, or key of the ingest port"},
	}
}

// protocolFlags make connections and publishes speak a protocol inside WebSocket.
func protocolFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "protocol", Usage: "`NAME`: pusher, for a --url like ws://host:port/app/KEY; centrifugo, for ws://host:port/connection/websocket; nchan, whose --api is the URL of a publisher; default plain messages"},
		&cli.StringFlag{Name: "app-id", Value: "bench", Usage: "`ID` of the app, for --protocol pusher"},
		&cli.StringFlag{Name: "app-key", Value: "bench", Usage: "`KEY` of the app"},
		&cli.StringFlag{Name: "app-secret", EnvVars: []string{"PUSHD_APP_SECRET"}, Value: "secret", Usage: "`SECRET` of the app"},
	}
}

// speak makes the load speak the protocol that the flags want. All connections join
// the channel, or where the protocol is Pusher's so many private ones of their own.
func speak(c *cli.Context, l *load.Spec, channel string, own int) error {
	switch c.String("protocol") {
	case "", "nchan": // which adds nothing to a message
		return nil
	case "pusher":
		if own > 0 {
			channel = ""
		}
		l.Pusher = &load.Pusher{Key: c.String("app-key"), Secret: c.String("app-secret"), Channel: channel, Own: own}
		return nil
	case "centrifugo":
		l.Centrifugo = channel
		return nil
	}
	return fmt.Errorf("%w: --protocol %q: there are pusher, centrifugo and nchan", errUsage, c.String("protocol"))
}

// openPublisher makes a publisher that hands messages to --api as a back end does
// that speaks the protocol.
func openPublisher(c *cli.Context) (publish.Publisher, error) {
	api := c.String("api")
	switch c.String("protocol") {
	case "pusher":
		return publish.OpenPusher(api, publish.App{ID: c.String("app-id"), Key: c.String("app-key"), Secret: c.String("app-secret")}), nil
	case "centrifugo":
		return publish.OpenCentrifugo(api, c.String("key")), nil
	case "nchan":
		return publish.OpenNchan(api), nil
	}
	return publish.Open(api, c.String("key"))
}

// spec is a load as the common flags want it.
func spec(c *cli.Context, kind string) load.Spec {
	return load.Spec{
		Kind:      kind,
		URL:       c.String("url"),
		Size:      c.Int("size"),
		Window:    c.Int("window"),
		Origin:    c.String("origin"),
		ForeignOK: c.Bool("foreign-ok"),
	}
}

// need refuses a command without a flag. The library's own complaint would not
// tell misuse from failure.
func need(c *cli.Context, flag string) error {
	if c.String(flag) == "" {
		return fmt.Errorf("%w: --%s is missing", errUsage, flag)
	}
	return nil
}

// checkSize refuses sizes that cannot carry a header.
func checkSize(c *cli.Context) error {
	if n := c.Int("size"); n < payload.Header || n > payload.MaxSize {
		return fmt.Errorf("%w: --size %d is not between %d and %d", errUsage, n, payload.Header, payload.MaxSize)
	}
	return nil
}
