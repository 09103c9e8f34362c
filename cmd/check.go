package cmd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/reactor"
)

// check validates the config without running any of it but the constructors of
// its handlers, and looks whether a start would get as far as its processes on
// this machine, for this user.
func check(c *call) error {
	cfg, p, err := c.judge()
	if err != nil {
		return err
	}
	if name := c.flags.String("channel"); name != "" {
		return c.tellChannel(cfg, name)
	}
	remarks, err := c.rehearse(cfg, p, nil, c.former()...)
	if err != nil {
		return err
	}
	notes := notes(cfg)
	for _, r := range remarks {
		notes = append(notes, r.says)
	}
	if c.json() {
		return writeJSON(c.out, map[string]any{"ok": true, "config": cfg.File, "notes": notes})
	}
	for _, n := range notes {
		fmt.Fprintln(c.out, "note:", n)
	}
	from := cfg.File
	if from == "" {
		from = "built-in defaults"
		if len(cfg.Searched) > 0 { // a program of its own, as one of PHP, looks for none
			from += "; no config in " + strings.Join(cfg.Searched, " or ")
		}
	}
	fmt.Fprintf(c.out, "OK (%s): %s, %s\n", from,
		counted(len(p.Workers), "worker group", "worker groups"), counted(len(p.Listeners), "listener", "listeners"))
	return nil
}

// judge reads the config and says what should run, or all that is wrong with it.
func (c *call) judge() (*config.Config, *master.Plan, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, nil, err
	}
	p, err := c.program.makePlan(cfg)
	if err != nil {
		return nil, nil, invalid(err)
	}
	return cfg, p, nil
}

// former is the user of the broker process that runs, to which data_dir belongs
// before a reload; nobody's if none runs.
func (c *call) former() []int {
	client, err := c.dial()
	if err != nil {
		return nil
	}
	defer client.Close()
	if s, err := getStatus(client); err == nil && s.Broker.PID > 0 {
		if info, err := os.Stat(fmt.Sprintf("/proc/%d", s.Broker.PID)); err == nil {
			return []int{int(info.Sys().(*syscall.Stat_t).Uid)}
		}
	}
	return nil
}

// notes are what is valid and yet probably not meant.
func notes(cfg *config.Config) []string {
	out := []string{}
	pusher := slices.ContainsFunc(cfg.Workers, func(w config.Worker) bool { return w.Uses("pusher") })
	if len(cfg.Apps) > 0 && !pusher {
		out = append(out, "apps are configured, but no route has the handler pusher")
	}
	out = append(out, deadEnds(cfg)...)
	out = append(out, shortSecrets(cfg)...)
	out = append(out, oddIDs(cfg)...)
	out = append(out, fewStreams(cfg)...)
	out = append(out, cfg.Idle()...)
	out = append(out, cfg.Unread()...)
	out = append(out, cfg.Overridden()...)
	out = append(out, misspeltVariables(cfg)...)
	if cfg.DataTemporary {
		out = append(out, fmt.Sprintf("data_dir is %s, for want of a place that lasts: set data_dir to keep the API key and webhooks that wait", cfg.DataDir))
	}
	if url := cfg.Broker.URL; url != "" && !strings.Contains(url, ",") {
		out = append(out, "broker.url names one server: while it is away this node reaches nobody, not even its own other processes; name all servers of the NATS cluster, the nearest first")
	}
	if cfg.Drain == 0 {
		out = append(out, "drain = 0: a stop or restart cuts all clients at the same moment")
	}
	return out
}

// misspeltVariables are variables that are nearly ours, but that nobody reads.
func misspeltVariables(cfg *config.Config) []string {
	return cfg.Misspelt(os.Environ(), phpEnv, phpRootEnv, phpWatchEnv, reactor.FallbackEnv)
}

// deadEnds are routes of the handler pusher at which its clients find nothing: they
// come with their key in the path, or with that of the HTTP API.
func deadEnds(cfg *config.Config) (out []string) {
	for _, w := range cfg.Workers {
		for _, r := range w.All() {
			p := r.Pattern
			switch {
			case r.Handler != "pusher":
			case p == "" && !slices.ContainsFunc(w.Listen, speaksHTTP):
				out = append(out, fmt.Sprintf("%s: clients of the handler pusher come by websocket:// and http://, and find no way in", r.At))
			case p != "" && !strings.HasSuffix(p, "*") && !strings.HasSuffix(p, "/up") && !strings.Contains(p, "{key}") && !strings.Contains(p, "/apps/"):
				out = append(out, fmt.Sprintf(`%s: the handler pusher has nothing there: write "/app/{key}" for clients, "/apps/*" for back ends`, r.At))
			}
		}
	}
	return out
}

func speaksHTTP(listen string) bool {
	s := strings.TrimSuffix(config.Scheme(listen), "+tls")
	return s == "websocket" || s == "http"
}

// fewStreams says, once, how many streams of events a browser opens to a host over
// HTTP/1.1, which is what a listener of ours speaks, with TLS or without. One that
// other machines do not reach has a proxy before it, which may speak HTTP/2.
func fewStreams(cfg *config.Config) []string {
	for _, w := range cfg.Workers {
		for _, r := range w.All() {
			if (r.Handler == "notify" || r.Handler == "mercure") && public(w.Listen) {
				return []string{fmt.Sprintf("%s takes streams of events: over HTTP/1.1 a browser opens at most 6 of them to a host, those of all its tabs together, and the seventh waits; a proxy before it that speaks HTTP/2 lifts that, and WebSockets do not count", r.At)}
			}
		}
	}
	return nil
}

// shortSecrets names secrets that can be guessed. They are not refused: they may
// be those that the clients of another server already have.
func shortSecrets(cfg *config.Config) (out []string) {
	short := func(name, secret string) {
		if secret != "" && worker.CheckSecret(secret, worker.MinSecret) != nil {
			out = append(out, fmt.Sprintf("%s has fewer than %d bytes, so that it can be guessed", name, worker.MinSecret))
		}
	}
	short("api.key", cfg.API.Key)
	for _, in := range cfg.Ingest {
		short("the key of "+in.At, in.Key)
	}
	for _, app := range cfg.Apps {
		short("the secret of app "+app.ID, app.Secret)
	}
	return out
}

// plan prints what would run. For the master it writes all of it to a
// descriptor; people see it without secrets.
func plan(c *call) error {
	cfg, p, err := c.judge()
	if err != nil {
		return err
	}
	if fd := os.Getenv(master.PlanFDEnv); fd != "" { // it is to be carried out
		if err := c.program.dataWritable(cfg); err != nil {
			return fmt.Errorf("%s: %w", cfg.Place("data_dir"), err)
		}
		return sendPlan(fd, p)
	}
	shown, err := redactPlan(*p)
	if err != nil {
		return fmt.Errorf("redact plan: %w", err)
	}
	if c.json() {
		return writeJSON(c.out, shown)
	}
	c.tellPlan(&shown)
	return nil
}

func sendPlan(fd string, p *master.Plan) error {
	n, err := strconv.Atoi(fd)
	if err != nil || n < 3 {
		return fmt.Errorf("%s = %q is no descriptor", master.PlanFDEnv, fd)
	}
	f := os.NewFile(uintptr(n), "plan")
	if f == nil {
		return errors.New("the plan's descriptor is not open")
	}
	if err := writeJSON(f, p); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return f.Close()
}

func (c *call) tellPlan(p *master.Plan) {
	t := newTable("NAME", "USER", "LISTEN", ">COUNT")
	row := func(name, user string, listen []string, count int) {
		for i, addr := range orNone(listen) {
			if i > 0 {
				t.add("", "", addr, "")
				continue
			}
			t.add(name, userName(user), addr, fmt.Sprint(count))
		}
	}
	for _, g := range p.Workers {
		row(g.Name, g.User, g.Listen, g.Count)
	}
	if p.Broker != nil {
		row("broker", p.Broker.User, p.Broker.Listen, 1)
	}
	t.write(c.out)
	fmt.Fprintf(c.out, "\nruntime dir %s; --json shows all of it, without secrets\n", p.RuntimeDir)
}

// oddIDs are apps that some server SDKs cannot name: Python's refuses an id that
// is not digits, the URL constructors of Node's and Go's read no other.
func oddIDs(cfg *config.Config) (out []string) {
	for _, a := range cfg.Apps {
		if strings.Trim(a.ID, "0123456789") != "" {
			out = append(out, fmt.Sprintf("%s: the id %q is no number: some server SDKs, Python's among them, take digits only", a.At, a.ID))
		}
	}
	return out
}
