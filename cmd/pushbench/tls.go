package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/compare"
)

func tlsCommand() *cli.Command {
	return &cli.Command{
		Name:  "tls",
		Usage: "what pushd promises of clients behind TLS, measured on one of its own beside clients in the clear and net/http, and compared with the reach",
		Flags: ownFlags(
			connectionsFlag(15_000),
			&cli.IntFlag{Name: "receivers", Value: 5000, Usage: "of the fan-out, and who shake hands at once, `MANY`"},
			&cli.IntFlag{Name: "messages", Aliases: []string{"m"}, Value: 40, Usage: "of the fan-out, `MANY` a round"},
			&cli.IntFlag{Name: "rounds", Value: 3, Usage: "each way, in turn: what the machine does beside evens out"},
			&cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, Value: 5 * time.Second, Usage: "how `LONG` echoes and handshakes are measured"},
			&cli.DurationFlag{Name: "settle", Value: 30 * time.Second, Usage: "how `LONG` idle connections are left alone"},
			&cli.StringFlag{Name: "peers", Value: "bin/peers", Usage: "`PROGRAM` of the peers, of which gorilla-tls is one of net/http"},
		),
		Action: underTLS,
	}
}

// tlsGroup is a second group of workers, behind TLS.
const tlsGroup = `[[worker]]
name = "secure"
listen = "wss://{apps}"
count = 2
tls = { cert = %q, key = %q }
limits = { max_queue = "16MiB" }
routes = { "/echo" = "echo", "/chat" = "chat" }
`

func underTLS(c *cli.Context) error {
	if c.Int("connections") < 1 || c.Int("receivers") < 1 || c.Int("rounds") < 1 {
		return fmt.Errorf("%w: --connections, --receivers and --rounds are at least 1", errUsage)
	}
	p := &promises{Context: c, routes: `"/echo" = "echo", "/chat" = "chat"`}
	return p.prove(func() error {
		cert, key := filepath.Join(p.dir, "cert.pem"), filepath.Join(p.dir, "key.pem")
		if err := certify(cert, key); err != nil {
			return err
		}
		p.more = fmt.Sprintf(tlsGroup, cert, key)
		if err := p.idleUnderTLS(); err != nil {
			return err
		}
		for _, stage := range []func(*ownServer) error{p.traffics, p.returning, p.shaking} {
			if err := p.with(2, stage); err != nil {
				return err
			}
		}
		return nil
	})
}

// certify makes a certificate for localhost that signs itself.
func certify(cert, key string) error {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
}

// by is where a path of the server is heard in a way.
func (s *ownServer) by(way, path string) string {
	if way == "wss" {
		return "wss://" + s.apps + path
	}
	return way + "://" + s.address + path
}

// idleUnderTLS: what an idle connection costs, and after a broadcast and a reload.
func (p *promises) idleUnderTLS() error {
	bytes, after := map[string]float64{}, 0.0
	for _, way := range []string{"ws", "wss"} {
		err := p.with(2, func(s *ownServer) error {
			r, err := p.measure(s, "idle", "--url", s.by(way, "/chat?room=bench"), "-n", strconv.Itoa(p.Int("connections")), "--hold", "0s",
				"--settle", p.Duration("settle").String(), "--api", "http://"+s.api, "--key", "bench", "--channel", "chat:bench", "-m", "1",
				"--exec", fmt.Sprintf("'%s' reload -c '%s'", s.program, s.config))
			bytes[way], _ = r.Numbers.Get("server_bytes_per_connection")
			after, _ = r.Numbers.Get("server_bytes_per_connection_after")
			return err
		})
		if err != nil {
			return err
		}
	}
	p.atMost("idle connection, beside "+short(bytes["ws"])+" B in the clear", bytes["wss"]-bytes["ws"], "B", 260)
	p.atMost("… in all", bytes["wss"], "B", 900)
	p.atMost("… after a broadcast and a reload", after, "B", 1100)
	return nil
}

// traffics: what messages cost. In the second row each connection speaks rarely, so
// that what it needs to encrypt is made anew for it.
func (p *promises) traffics(s *ownServer) error {
	fan := strconv.Itoa(p.Int("receivers"))
	for _, m := range []struct {
		name, unit string
		reach      float64
		command    string
		flags      []string
	}{
		{"echo, 100 connections, CPU by that in the clear", "message", 1.25, "echo", []string{"-n", "100", "-d", p.Duration("duration").String()}},
		{"echo, each speaks every second, CPU by that", "message", 1.6, "echo", []string{"-n", fan, "--rate", fan, "-d", p.Duration("duration").String()}},
		{"fan-out to " + fan + ", CPU by that", "delivery", 1.3, "fanout", []string{"-n", fan, "-m", strconv.Itoa(p.Int("messages"))}},
	} {
		path := map[string]string{"echo": "/echo", "fanout": "/chat?room=bench"}[m.command]
		cpu, err := p.inTurns(s, m.command, "server_cpu_us_per_"+m.unit, path, m.flags)
		if err != nil {
			return err
		}
		p.atMost(m.name, cpu["wss"]/cpu["ws"], "x", m.reach)
	}
	return nil
}

// inTurns adds one number of a command up, over the rounds, by either way.
func (p *promises) inTurns(s *ownServer, command, number, path string, flags []string) (map[string]float64, error) {
	sum := map[string]float64{}
	for range p.Int("rounds") {
		for _, way := range []string{"ws", "wss"} {
			r, err := p.measure(s, command, append([]string{"--url", s.by(way, path)}, flags...)...)
			if err != nil {
				return nil, err
			}
			n, _ := r.Numbers.Get(number)
			sum[way] += n
		}
	}
	return sum, nil
}

// returning: who has been here has a ticket, which any process takes. That it is good
// behind a reload is for tests: of thousands the first hundred would hardly show.
func (p *promises) returning(s *ownServer) error {
	r, err := p.measure(s, "connect", "--url", s.by("wss", "/echo"), "--resume", "-d", p.Duration("duration").String())
	if err != nil {
		return err
	}
	all, _ := r.Numbers.Get("connections")
	resumed, _ := r.Numbers.Get("connections_resumed")
	p.atLeast("returns that resume a session, to any worker", 100*resumed/all, "%", 95)
	return nil
}

// shaking: full handshakes beside those of crypto/tls with net/http, and what others
// feel of many at once.
func (p *promises) shaking(s *ownServer) error {
	other, address, err := p.startRival()
	if err != nil {
		return err
	}
	defer other.Stop()
	pid, err := s.master(p.Context.Context)
	if err != nil {
		return err
	}
	type target struct {
		url string
		pid int
	}
	targets := map[string]target{"pushd": {s.by("wss", "/echo"), pid}, "net/http": {"wss://" + address + "/echo", other.PID()}}
	cpu, late := map[string]float64{}, map[string]float64{}
	for range p.Int("rounds") {
		for name, t := range targets {
			r, err := p.measureAt(t.pid, "connect", "--url", t.url, "-d", p.Duration("duration").String())
			if err != nil {
				return err
			}
			n, _ := r.Numbers.Get("server_cpu_us_per_connection")
			cpu[name] += n
			n, err = p.felt(t.pid, t.url)
			if err != nil {
				return err
			}
			late[name] += n
		}
	}
	p.atMost("CPU of a full handshake, by net/http's", cpu["pushd"]/cpu["net/http"], "x", 1.05)
	p.atMost(fmt.Sprintf("echo p99 of others while %d shake hands, by net/http's", p.Int("receivers")), late["pushd"]/late["net/http"], "x", 0.25)
	return nil
}

// felt is the p99 of the echoes of fifty clients while many shake hands at once.
func (p *promises) felt(pid int, url string) (float64, error) {
	ctx, cancel := context.WithCancel(p.Context.Context)
	defer cancel()
	storm := exec.CommandContext(ctx, p.self, "idle", "--url", url, "-n", strconv.Itoa(p.Int("receivers")), "--window", strconv.Itoa(p.Int("receivers")), "--hold", "1h")
	storm.Cancel = func() error { return storm.Process.Signal(syscall.SIGTERM) }
	over := make(chan error, 1)
	begin := time.AfterFunc(2*time.Second, func() { over <- storm.Run() })
	r, err := p.measureAt(pid, "echo", "--url", url, "-n", "50", "--rate", "500", "-d", "12s")
	if begin.Stop() {
		return 0, errors.Join(err, errors.New("the echoes ended before the others came"))
	}
	select {
	case stormErr := <-over:
		return 0, errors.Join(err, fmt.Errorf("those who shake hands have ended: %w", stormErr))
	default:
	}
	cancel()
	<-over
	if err != nil {
		return 0, err
	}
	p99, ok := r.Numbers.Get("echo_p99_us")
	if !ok {
		return 0, fmt.Errorf("no p99 in %s", r.Command)
	}
	return p99, nil
}

// startRival starts a server to compare with.
func (p *promises) startRival() (rival *compare.Process, address string, err error) {
	if address, err = freeAddress(); err != nil {
		return nil, "", err
	}
	rival, err = compare.Launch(p.Context.Context, compare.Program{Args: []string{p.String("peers"), "gorilla-tls", "--listen", address, "--loops", "2"}})
	return rival, address, err
}

// measureAt runs a command of ours against any server; what it finds wrong is an error.
func (p *promises) measureAt(pid int, command string, flags ...string) (Report, error) {
	r, raw, err := p.report(append([]string{command, "--pid", strconv.Itoa(pid)}, flags...)...)
	if err == nil && !r.OK {
		err = fmt.Errorf("%s: %s", command, raw)
	}
	return r, err
}

// report runs a command of ours and returns what it reports, be that good or bad.
func (p *promises) report(command ...string) (r Report, raw []byte, err error) {
	c := exec.CommandContext(p.Context.Context, p.self, append([]string{command[0], "--json"}, command[1:]...)...)
	c.Stderr = p.App.ErrWriter
	raw, err = c.Output()
	if jsonErr := json.Unmarshal(raw, &r); jsonErr != nil {
		return r, raw, fmt.Errorf("%s: %w: %s", command[0], errors.Join(err, jsonErr), raw)
	}
	return r, raw, nil
}
