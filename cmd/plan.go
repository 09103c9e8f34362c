package cmd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/brokerd"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/nodes"
)

// planner turns a config and the program's own workers into a plan. Errors are
// collected, each with its place in the config.
type planner struct {
	program *Program
	config  *config.Config
	plan    master.Plan
	orders  []certs.Order // of all TLS settings
	uids    []uint32
	errs    config.Errors
}

// makePlan says what should run. Handlers are really constructed, so that an
// unknown name, a wrong option or a panic shows before anything is replaced.
func (p *Program) makePlan(c *config.Config) (*master.Plan, error) {
	b := &planner{program: p, config: c, uids: []uint32{uint32(os.Geteuid())}}
	b.plan = master.Plan{
		Version: master.PlanVersion, Program: p.version(),
		RuntimeDir: c.RuntimeDir, LogFile: c.LogFile,
		LogLevel: strings.ToLower(c.LogLevel.String()), LogFormat: c.LogFormat,
		DrainMS: c.Drain.Milliseconds(), WatchdogMS: c.Watchdog.Milliseconds(), Record: worker.RecordVersion,
	}
	switch {
	case p.script != nil:
		b.phpGroups()
	case p.own():
		b.programGroups()
	}
	if err := p.services(b.process()).Check(); err != nil {
		b.errs = append(b.errs, err)
	}
	b.channels()
	for _, w := range c.Workers {
		if command, options := w.PHP(); command != nil {
			b.phpWorker(w, command, options)
			continue
		}
		b.configGroup(w)
	}
	for i, in := range c.Ingest {
		if in.Handler != nil {
			b.configGroup(config.Worker{
				At: in.At, Name: config.IngestName(i), Listen: []string{in.Listen}, Count: 1,
				Handler: in.Handler, Socket: in.Socket, Settings: worker.DefaultSettings(),
			})
		}
	}
	b.broker()
	b.fix()
	b.checkProcesses()
	for _, l := range b.plan.Listeners {
		if err := b.plan.Own(l.Address, p.Name+".log"); err != nil {
			b.fail(c.Place(l.Address), err)
		}
	}
	if len(b.errs) > 0 {
		return nil, b.errs
	}
	if err := b.plan.Check(); err != nil {
		return nil, err
	}
	return &b.plan, nil
}

// numbers reports whether messages can have positions: there is one node, or a
// log that all nodes share.
func (b *planner) numbers() bool {
	return b.config.Broker.URL == "" || b.config.History.Store == "jetstream"
}

// channels judges the rules that the program's workers declare; those of the
// config have been.
func (b *planner) channels() {
	rules, read := b.program.channels(processSpec{Channels: b.config.Rules()}), len(b.config.Channels)
	if i := rules.Historic(); i >= 0 && !b.numbers() {
		at := "ChannelRules of the program's workers"
		if i < read {
			at = b.config.Channels[i].At
		}
		b.fail(at, errors.New("history with [broker] url: each machine would number for itself, and positions would lie. Set [history] store = \"jetstream\", use the embedded broker, or no history"))
	}
	if len(rules) == read {
		return
	}
	for _, f := range rules.Check() {
		at := "ChannelRules of the program's workers"
		if f.Rule < read {
			at = b.config.Channels[f.Rule].At
		}
		b.fail(at, f.Err)
	}
}

// checkProcesses bounds the processes of all groups together.
func (b *planner) checkProcesses() {
	total := 0
	for _, g := range b.plan.Workers {
		total += g.Count
	}
	if total > config.MaxProcesses {
		b.errs = append(b.errs, fmt.Errorf("%d worker processes in all groups together: at most %d", total, config.MaxProcesses))
	}
}

func (b *planner) fail(at string, err error) {
	b.errs = append(b.errs, fmt.Errorf("%s: %w", at, err))
}

func (b *planner) process() processSpec {
	node, prefix := b.config.Cluster.Node, b.config.Broker.Prefix
	if b.config.Broker.URL == "" { // the embedded bus has one node, which needs no name
		node, prefix = "", ""
	}
	return processSpec{
		LogLevel: b.config.LogLevel, LogFormat: b.config.LogFormat, BrokerURL: b.config.Broker.URL, Node: node,
		Prefix: prefix, Access: b.config.Broker.Access,
		Services: b.config.Services(), Channels: append(b.config.Rules(), b.handlerChannels()...),
	}
}

// handlerChannels are the rules that handlers have for channels of their own,
// behind those of the config, where there can be a history.
func (b *planner) handlerChannels() (rules channel.Rules) {
	seen := map[string]bool{}
	for _, w := range b.config.Workers {
		for _, r := range w.All() {
			if !seen[r.Handler] && b.numbers() {
				seen[r.Handler] = true
				rules = append(rules, worker.ChannelsOf(r.Handler)...)
			}
		}
	}
	return rules
}

// configGroup plans a group that the config describes.
func (b *planner) configGroup(w config.Worker) {
	for _, r := range w.All() {
		spec := routeOf(r)
		h, err := spec.newHandler()
		if c, ok := h.(interface {
			CheckServices(worker.ServiceOptions) error
		}); ok && err == nil {
			err = c.CheckServices(b.program.services(b.process()))
		}
		if c, ok := h.(interface{ CheckStart(root bool) error }); ok && err == nil {
			err = master.AsUser(w.User, w.Group, func() error { return c.CheckStart(root(w.User)) })
		}
		if err != nil {
			b.fail(r.At, err)
		}
	}
	b.rules(w)
	b.group(w.At, master.Group{Name: w.Name, Listen: w.Listen, Count: w.Count, User: w.User, Group: w.Group}, w.Socket,
		groupOf(w), w.Settings)
}

// root reports whether processes of that user are root's; "" is the user of pushd.
func root(name string) bool {
	if name == "" {
		return os.Geteuid() == 0
	}
	uid, err := lookUpUID(name)
	return err == nil && uid == 0
}

// rules judges what a worker makes of its routes and handler when it starts.
func (b *planner) rules(w config.Worker) {
	for _, r := range w.All() {
		if err := worker.CheckAccess(r.Origins, r.Protocols); err != nil {
			b.fail(r.At, err)
		}
	}
	routes := make([]worker.Route, len(w.Routes))
	for i, r := range w.Routes {
		routes[i] = worker.Route{Pattern: r.Pattern, Handler: struct{}{}}
	}
	for i, err := range worker.CheckRoutes(routes) {
		if err != nil {
			b.fail(w.Routes[i].At, err)
		}
	}
}

// programGroups plans the workers that the program declares.
func (b *planner) programGroups() {
	targets := make([]config.Target, len(b.program.Workers))
	listens := make([][]string, len(b.program.Workers))
	counts := make([]int, len(b.program.Workers))
	for i, w := range b.program.Workers {
		listens[i], counts[i] = slices.Clone(w.Listen()), w.Count
		targets[i] = config.Target{Listen: &listens[i], Count: &counts[i]}
	}
	if err := b.config.Override.Apply(targets); err != nil {
		b.errs = append(b.errs, err)
	}
	names := map[string]bool{}
	for i, w := range b.program.Workers {
		at := fmt.Sprintf("worker %q", w.Name)
		if names[w.Name] {
			b.fail(at, errors.New("two workers of this program have that name: set Worker.Name"))
		}
		names[w.Name] = true
		if err := config.CheckName(w.Name); err != nil {
			b.fail(at, err)
		}
		if err := w.Settings.Validate(); err != nil {
			b.fail(at, err)
		}
		if err := errors.Join(append(worker.CheckRoutes(w.Routes), worker.CheckAccess(w.Origins, w.Protocols))...); err != nil {
			b.fail(at, err)
		}
		b.group(at, master.Group{Name: w.Name, Listen: listens[i], Count: counts[i], User: w.User, Group: w.Group}, config.Socket{},
			nil, w.Settings)
	}
}

// group adds a worker group and its listeners.
func (b *planner) group(at string, g master.Group, socket config.Socket, spec *groupSpec, s worker.Settings) {
	if g.Count < 0 {
		b.fail(at, fmt.Errorf("count is %d", g.Count))
	}
	if g.Count == 0 {
		g.Count = config.CPUs()
	}
	if len(g.Listen) == 0 {
		b.fail(at, errors.New("listens nowhere"))
	}
	atListen := at
	if b.config.Override.Gave(g.Listen) {
		atListen = "PUSHD_LISTEN, which counts for " + at
	}
	for _, addr := range g.Listen {
		if err := config.CheckListen(addr); err != nil {
			b.fail(atListen, err)
		}
		b.listener(addr, socket, s)
	}
	if err := b.allow(g.User); err != nil {
		b.fail(at, err)
	}
	if err := worker.CheckTLS(g.Listen, &s); err != nil {
		b.fail(atListen, err)
	}
	b.slowChannels(at, &s)
	g.Copies = b.copies(s.TLS)
	g.Scripts = spec.scripts()
	g.Spec = mustJSON(workerSpec{processSpec: b.process(), TrustedProxies: b.config.TrustedProxies, Group: spec})
	b.plan.Workers = append(b.plan.Workers, g)
}

// slowChannels judges a group's policies beside the rules that hold for all, which
// they come before.
func (b *planner) slowChannels(at string, s *worker.Settings) {
	if len(s.SlowChannels) == 0 {
		return
	}
	var rules channel.Rules
	for _, c := range s.SlowChannels {
		rules = append(rules, channel.Rule{Match: c.Match, Slow: c.Slow})
	}
	rules = append(rules, b.program.channels(processSpec{Channels: b.config.Rules()})...)
	for _, f := range rules.Check() {
		if f.Rule < len(s.SlowChannels) {
			b.fail(at, fmt.Errorf("channels: slow = %w", f.Err))
		}
	}
}

// minUserTimeout lets a lost packet be sent again before its connection is given
// up, however short the pings of a program are.
const minUserTimeout = time.Second

// listener adds a socket. A peer that is gone without a word is noticed by the
// kernel when data for it stays unacknowledged for as long as a ping would.
func (b *planner) listener(addr string, socket config.Socket, s worker.Settings) {
	l := listenerOf(addr, socket)
	if !isDatagram(addr) && s.PingInterval > 0 {
		l.UserTimeoutMS = max(s.PingInterval+s.PingTimeout, minUserTimeout).Milliseconds()
	}
	b.plan.Listeners = append(b.plan.Listeners, l)
}

func isDatagram(addr string) bool { return config.Scheme(addr) == "udp" }

// allow lets processes of that user connect to the bus.
func (b *planner) allow(name string) error {
	if name == "" {
		return nil
	}
	uid, err := lookUpUID(name)
	if err == nil && !slices.Contains(b.uids, uid) {
		b.uids = append(b.uids, uid)
	}
	return err
}

// lookUpUID returns the id of a user who is named by it or by name.
func lookUpUID(name string) (uint32, error) {
	id := name
	if u, err := user.Lookup(name); err == nil {
		id = u.Uid
	}
	uid, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("user %q is not known on this machine", name)
	}
	return uint32(uid), nil
}

// fix names what a reload cannot change. Workers are replaced one by one, and
// those before and after would not hear each other on two buses; and those of a
// user whom the bus does not know yet could not connect to it.
func (b *planner) fix() {
	slices.Sort(b.uids)
	b.plan.Fixed = map[string]string{}
	fixed := map[string]any{"broker.url": b.config.Broker.URL, "cluster.node": b.process().Node, "user": b.uids}
	if b.config.Broker.URL != "" {
		fixed["broker.prefix"] = b.process().Prefix
	}
	for key, value := range fixed {
		sum := sha256.Sum256(mustJSON(value)) // a URL may hold a password
		b.plan.Fixed[key] = hex.EncodeToString(sum[:])
	}
}

// listenerOf is a socket of the plan; who may connect counts for unix ones only.
func listenerOf(addr string, s config.Socket) master.Listener {
	l := master.Listener{Address: addr}
	if _, rest, _ := strings.Cut(addr, "://"); strings.HasPrefix(rest, "/") {
		l.Mode, l.Group = s.Mode, s.Group
	}
	return l
}

// broker plans the broker process; it comes last, when all users are known.
func (b *planner) broker() {
	c := b.config
	spec := brokerSpec{processSpec: b.process(), APIKey: c.API.Key, DataTemporary: c.DataTemporary}
	spec.UIDs, spec.DataDir = b.uids, c.DataDir
	spec.Times = nodes.Times{Lost: c.Cluster.Lost, Forget: c.Cluster.Forget}
	var listen []string
	add := func(addr string, socket config.Socket) string {
		listen = append(listen, addr)
		b.plan.Listeners = append(b.plan.Listeners, listenerOf(addr, socket))
		return addr
	}
	if c.API.Listen != "" {
		spec.API, spec.APITLS = add(serviceAddress(c.API.Listen, c.API.TLS), c.API.Socket), c.API.TLS
	}
	if c.Metrics.Listen != "" {
		spec.Metrics, spec.MetricsTLS = add(serviceAddress(c.Metrics.Listen, c.Metrics.TLS), config.Socket{}), c.Metrics.TLS
	}
	for _, in := range c.Ingest {
		if in.Handler == nil {
			spec.Ingest = append(spec.Ingest, brokerd.Ingest{Listen: add(in.Listen, in.Socket), Key: in.Key})
		}
	}
	copies := b.copies(c.API.TLS, c.Metrics.TLS)
	spec.Orders = b.orders // of workers too
	b.plan.Broker = &master.BrokerPlan{Listen: listen, User: c.Broker.User, Group: c.Broker.Group, Spec: mustJSON(spec),
		Data: &master.DataPlan{Dir: c.DataDir, Files: dataFiles}, Copies: copies, Answers: control.Answers}
	if c.Broker.URL != "" {
		b.plan.Broker.Answers = append(slices.Clone(control.Answers), control.QueryConnections)
	}
	if c.Broker.User != "" {
		if _, err := lookUpUID(c.Broker.User); err != nil {
			b.fail(c.Place("broker"), err)
		}
	}
}

// copies adds to the plan what settings need of the disk, and returns the names.
func (b *planner) copies(list ...*certs.Settings) (names []string) {
	for _, s := range list {
		for _, f := range certificatesOf(s) {
			if f.Order != nil && !slices.ContainsFunc(b.orders, func(o certs.Order) bool { return o.File() == f.Order.File() }) {
				b.orders = append(b.orders, *f.Order)
			}
		}
		for _, src := range s.Sources() {
			if !slices.Contains(names, src.Name) {
				names = append(names, src.Name)
			}
			if !slices.ContainsFunc(b.plan.Copies, func(c master.Copy) bool { return c.Name == src.Name }) {
				for i, f := range src.Files { // of a program they may be relative; those of the config are not
					src.Files[i], _ = filepath.Abs(f)
				}
				b.plan.Copies = append(b.plan.Copies, master.Copy(src))
			}
		}
	}
	return names
}

func certificatesOf(s *certs.Settings) []certs.Files {
	if s == nil {
		return nil
	}
	return s.Certificates
}

// serviceAddress gives "host:port" the form of the plan's addresses.
func serviceAddress(listen string, tls *certs.Settings) string {
	if strings.HasPrefix(listen, "unix://") {
		return listen
	}
	if tls != nil {
		return "https://" + listen
	}
	return "http://" + listen
}
