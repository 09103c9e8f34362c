package cmd

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
)

// commands lists the commands in the order of the help text.
func (p *Program) commands() []*cli.Command {
	daemon := &cli.BoolFlag{Name: "daemon", Aliases: []string{"d"}, Usage: "go to the background once ready"}
	graceful := &cli.BoolFlag{Name: "graceful", Aliases: []string{"g"}, Usage: "wait until clients have left by themselves"}
	timeout := &cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "with -g: wait for at most this long, 0 = for ever", Action: notNegative}
	watch := &cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "show it again every second"}
	wide := &cli.BoolFlag{Name: "wide", Usage: "all columns, whatever the terminal's width"}
	uid := name("uid", "the connections bound to this user `ID`")
	connection := name("connection", "the connection with this `ID`")
	binary := &cli.BoolFlag{Name: "binary", Usage: "send as a binary message"}
	return []*cli.Command{
		p.command("start", "run master, workers and broker", "", start, daemon),
		p.command("stop", "stop all of it", "", stop, graceful, timeout,
			&cli.BoolFlag{Name: "to-others", Usage: "of a cluster: tell clients to come back, to another node"}),
		p.command("restart", "stop, then start", "", restart, daemon, graceful, timeout),
		p.command("reload", "take over a new config, handlers and binary", "", reload,
			&cli.BoolFlag{Name: "all", Usage: "replace workers too where only programs of scripts would be"}),
		p.command("reopen", "open the log file anew, after it was moved away", "", reopen),
		p.command("status", "show the processes and their counters", "", status,
			watch, wide),
		p.command("nodes", "show the machines that share [broker] url", "", machines),
		p.command("connections", "list connections", "", connections,
			name("node", "of this machine `NAME` of a cluster"),
			name("worker", "of this worker group `NAME`"), uid,
			name("channel", "members of this channel `NAME`"),
			name("ip", "from this `ADDRESS`"),
			&cli.IntFlag{Name: "limit", Value: 100, Usage: "at most `N`, 0 = all"},
			watch, wide),
		p.command("check", "validate the config, handlers included", "", check,
			name("channel", "print what holds for the channel `NAME`, of an app ID:NAME")),
		p.command("plan", "print what would run", "", plan),
		p.command("publish", "send DATA to the members of CHANNEL (DATA - reads stdin)", "CHANNEL DATA", publish, binary,
			names("except", "leave out the connection with this `ID`")),
		p.command("send", "send DATA to a user or connection", "DATA", send, uid, connection, binary),
		p.command("kick", "close the connections of a user, or one connection", "", kick, uid, connection,
			&cli.IntFlag{Name: "code", Value: 1000, Usage: "close code, 1000 or 3000 to 4999"},
			&cli.StringFlag{Name: "reason", Usage: "close `REASON`"}),
		p.command("history", "print what is kept of CHANNEL, the oldest first", "CHANNEL", history,
			name("app", "of the app with this `ID`"),
			name("after", "what follows this position, `EPOCH:OFFSET`"),
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what comes, until Ctrl-C"},
			&cli.BoolFlag{Name: "purge", Usage: "forget it instead"}),
		p.command("token", "make a login token for the handler notify", "", token,
			name("uid", "user `ID` of the token"),
			names("channel", "`CHANNEL` that the client joins"),
			&cli.DurationFlag{Name: "ttl", Value: time.Hour, Usage: "how long the token is good for"},
			name("route", "use the secret of the route with this `PATH`"),
			name("secret-file", "use the secret in this `FILE`")),
		p.command("key", "print the key of the HTTP API", "", key),
		p.command("init", "write a commented config with secrets of its own (FILE - prints it)", "[FILE]", initialize),
		p.command("doctor", "look at machine and config, say how each fault is mended", "", doctor),
		p.command("shell-init", "print shell functions for eval: completion, our verbs at the prompt", "[SHELL]", shellInit),
		p.command("php", "all of this for a PHP program of Workerman, Ratchet or Swoole", "FILE VERB", notHere),
		p.command("version", "print the version", "", version),
	}
}

// notNegative is of the flag --timeout.
func notNegative(_ *cli.Context, d time.Duration) error {
	if d < 0 {
		return misusef("--timeout %s is negative: 0 = for ever", d)
	}
	return nil
}

// notHere is never run: execute has taken `php` before.
func notHere(*call) error { return misusef("`php` is a word of pushd itself") }

func version(c *call) error {
	if c.json() {
		return writeJSON(c.out, map[string]string{"version": Version, "program": c.program.version()})
	}
	fmt.Fprintln(c.out, c.program.version())
	return nil
}
