package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/api"
	"github.com/pushd/pushd/worker/broker"
)

// MaxProcesses is how many worker processes there may be in all groups
// together: so many the bus, the master and the API are made for.
const MaxProcesses = 1000

// minPing is the shortest ping_interval. The kernel gives a peer about as long
// to acknowledge what was sent, and a lost packet is sent again after 0.2 s.
const minPing = time.Second

// What is a name, of 64 letters at most: patterns that counted them would be 60 KB
// each in all processes.
var (
	groupName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	busToken  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`) // of a token of a subject
)

const longestName = 64

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// CheckName judges the name of a worker group: it is part of bus subjects,
// metrics and process titles.
func CheckName(name string) error {
	if len(name) > longestName || !groupName.MatchString(name) {
		return fmt.Errorf("%q: use up to 64 letters, digits, '.', '_' and '-'", name)
	}
	return nil
}

// check finds what only all tables together show.
func check(c *Config, r *reader) {
	names := map[string]string{}
	claim := func(kind, at, key string, by map[string]string) {
		if first, taken := by[key]; taken {
			r.fail(at, "%s is used twice, first by %s", kind, first)
			return
		}
		by[key] = at
	}
	var sockets claims
	listen := func(shown, at, key string) {
		if other := sockets.add(shown, at, key); other != nil && other.key == key {
			r.fail(at, "%s is used twice, first by %s%s", shown, other.at, inOtherWords(other.shown, shown))
		} else if other != nil {
			r.fail(at, "%s and %s of %s cannot both be bound: one takes in the other", shown, other.shown, other.at)
		}
	}
	if c.API.Listen != "" {
		listen(c.API.Listen, r.at("api.listen"), socketKey("tcp://"+c.API.Listen))
	}
	if c.Metrics.Listen != "" {
		listen(c.Metrics.Listen, r.at("metrics.listen"), socketKey("tcp://"+c.Metrics.Listen))
	}
	for i, in := range c.Ingest {
		listen(in.Listen, in.At, socketKey(in.Listen))
		if in.Handler != nil {
			claim("the name "+IngestName(i), in.At, IngestName(i), names)
		}
	}
	for _, w := range c.Workers {
		if !w.declared {
			claim("the name "+w.Name, w.At, w.Name, names)
		}
		at := w.At
		if c.Override.Listen != nil {
			at = "PUSHD_LISTEN"
		}
		for _, addr := range w.Listen {
			listen(addr, at, socketKey(addr))
		}
	}
	ids := map[string]string{}
	for _, a := range c.Apps {
		for _, err := range append(a.Faults(), worker.ChannelsTaken(a.ID)) {
			if err != nil {
				r.fail(a.At, "%v", err)
			}
		}
		claim("the app id "+a.ID, a.At, "id "+a.ID, ids)
		claim("this app's key", a.At, "key "+a.Key, ids)
	}
}

func inOtherWords(first, second string) string {
	if first == second {
		return ""
	}
	return " as " + first
}

// IngestName is the name of the worker group of the i-th [[ingest]], if that
// has a handler.
func IngestName(i int) string { return fmt.Sprintf("ingest-%d", i+1) }

// checkHostPort judges "host:port"; the host may be empty, a name or an address.
func checkHostPort(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf(`%q: write "127.0.0.1:2347"`, addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%q: the port is a number from 1 to 65535", addr)
	}
	return nil
}

// checkService judges the address of an HTTP service.
func checkService(addr string) error {
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		return checkSocketPath(path)
	}
	if strings.Contains(addr, "://") {
		return fmt.Errorf(`%q: write "127.0.0.1:2347" or "unix:///path"`, addr)
	}
	return checkHostPort(addr)
}

// maxSocketPath is the longest path of a unix socket in bytes.
const maxSocketPath = 107

// checkRuntimeDir leaves room for the name of the longest socket in it.
func (r *reader) checkRuntimeDir(c *Config) {
	const longest = "/control.sock"
	if over := len(c.RuntimeDir) + len(longest) - maxSocketPath; over > 0 {
		r.fail(c.Place("runtime_dir"), "%s is %d bytes too long for the sockets in it, whose paths have at most %d", c.RuntimeDir, over, maxSocketPath)
	}
}

func checkSocketPath(path string) error {
	if path == "" || len(path) > maxSocketPath {
		return fmt.Errorf("unix://%s: a socket's path has 1 to %d bytes", path, maxSocketPath)
	}
	return nil
}

// checkKey judges a bearer key: it has to fit into a header line.
func (t *table) checkKey(key string) {
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			t.fail(t.where("key"), "the key may hold printable ASCII without spaces only")
			return
		}
	}
}

func (t *table) checkAPI(a API) {
	t.checkKey(a.Key)
	if a.Listen == "" {
		return
	}
	err := checkService(a.Listen)
	if err == nil {
		err = api.CheckBind("[api]", a.Listen, true, a.Insecure || a.TLS != nil) // without a key one is generated
	}
	if err != nil {
		t.fail(t.where("listen"), "%v", err)
	}
}

func (t *table) checkMetrics(m Metrics) {
	if m.Listen == "" {
		return
	}
	err := checkService(m.Listen)
	if err == nil {
		err = api.CheckBind("[metrics]", m.Listen, true, m.Insecure || m.TLS != nil) // it has no key, and no secrets
	}
	if err != nil {
		t.fail(t.where("listen"), "%v", err)
	}
}

func (t *table) checkBroker(b Broker) {
	if b.URL == "" {
		for _, key := range []string{"prefix", "tls", "credentials", "nkey"} {
			if _, set := t.get(key); set {
				t.fail(t.where(key), "is for a NATS of your own: set url, or leave it out")
			}
		}
		return
	}
	if len(b.Prefix) > longestName || !busToken.MatchString(b.Prefix) {
		t.fail(t.where("prefix"), "%q is no token of a subject: up to 64 letters, digits, _ and -", b.Prefix)
	}
	if b.Access.Credentials != "" && b.Access.NKey != "" {
		t.fail(t.where("nkey"), "credentials is set too: use one of them")
	}
	for one := range strings.SplitSeq(b.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "" || badPort(u) {
			t.fail(t.where("url"), `write "nats://host:4222", several separated by commas`) // may hold a password
			return
		}
	}
}

// access reads what the servers of url ask of their clients.
func (t *table) access(a *broker.Access) {
	t.abs("credentials", &a.Credentials)
	t.abs("nkey", &a.NKey)
	tls := t.sub("tls", "")
	tls.abs("ca", &a.CA)
	tls.abs("cert", &a.Cert)
	tls.abs("key", &a.CertKey)
	if (a.Cert == "") != (a.CertKey == "") {
		tls.fail(tls.where("cert"), "cert and key go together")
	}
	tls.done()
	for _, f := range [][2]string{
		{t.where("credentials"), a.Credentials}, {t.where("nkey"), a.NKey},
		{tls.where("ca"), a.CA}, {tls.where("cert"), a.Cert}, {tls.where("key"), a.CertKey},
	} {
		t.readable(f[0], f[1])
	}
}

// readable fails if a file that is named cannot be opened.
func (t *table) readable(at, file string) {
	if file == "" {
		return
	}
	f, err := os.Open(file)
	if err != nil {
		t.fail(at, "%v", withoutPath(err))
		return
	}
	f.Close()
}

// withoutPath is the error of a file of secrets that cannot be opened. What stands
// in the place of its path may be the secret itself.
func withoutPath(err error) error {
	var of *fs.PathError
	if !errors.As(err, &of) {
		return err
	}
	return fmt.Errorf("the file that it names cannot be opened: %w (write a path, not what is in the file)", of.Err)
}

// minLost: a node is quiet after 1.5 s, and a lost packet of its sign of life may
// come with the next but one.
const minLost = 2 * time.Second

func (t *table) checkCluster(c *Config) {
	n := &c.Cluster
	if c.Broker.URL == "" {
		for _, key := range []string{"node", "lost", "forget"} {
			if _, set := t.get(key); set {
				t.fail(t.where(key), "is for several machines, which need one NATS: set [broker] url, or leave [cluster] out")
				return
			}
		}
	}
	if n.Node == "" {
		n.Node = hostNode()
	} else if err := CheckName(n.Node); err != nil {
		t.fail(t.where("node"), "%v", err)
	}
	if n.Lost < minLost {
		t.fail(t.where("lost"), "%s is shorter than %s: a node that is slow for a moment would be taken for dead", n.Lost, minLost)
	}
	if n.Forget < n.Lost {
		t.fail(t.where("forget"), "%s is shorter than lost, %s", n.Forget, n.Lost)
	}
}

func (t *table) checkIngest(in Ingest) {
	var err error
	scheme, rest, _ := strings.Cut(in.Listen, "://")
	switch scheme {
	case "":
		t.fail(in.At, `needs listen = "udp://127.0.0.1:6553"`)
		return
	case "udp", "tcp":
		err = checkHostPort(rest)
	case "unix":
		err = checkSocketPath(rest)
	default:
		err = fmt.Errorf(`%q: use udp://, tcp:// or unix://`, in.Listen)
	}
	if err == nil && in.Handler == nil {
		err = api.CheckBind("[[ingest]]", in.Listen, in.Key != "", in.Insecure)
	}
	if err != nil {
		t.fail(t.where("listen"), "%v", err)
	}
	if in.Handler != nil && in.Key != "" {
		t.fail(t.where("key"), "is for JSON pushes; here the handler judges what arrives")
	}
}

func (t *table) checkWorker(w Worker) {
	if err := CheckName(w.Name); err != nil {
		t.fail(t.where("name"), "%v", err)
	}
	if w.Count > MaxProcesses {
		t.fail(t.where("count"), "%d is more than %d processes", w.Count, MaxProcesses)
	}
	known := !w.declared && t.checkListens(t.where("listen"), w.Listen)
	switch hasRoutes := len(w.Routes) > 0; {
	case known && hasRoutes && !takesRoutes(w.Listen):
		t.fail(t.where("routes"), "only http and websocket have paths: set handler instead")
	case known && !hasRoutes && w.Handler == nil:
		t.fail(w.At, "has neither routes nor a handler")
	}
	if p := w.Settings.PingInterval; p > 0 && p < minPing {
		t.fail(t.where("ping_interval"), "%s is shorter than %s: one lost packet would end a connection (0 = never)", p, minPing)
	}
	if err := w.Settings.Validate(); err != nil {
		at := w.At
		var of *worker.SettingError
		if errors.As(err, &of) {
			at = t.at(join(t.path, of.Key))
		}
		t.fail(at, "%v", err)
	}
}

// checkListens reports whether all addresses can be understood.
func (t *table) checkListens(at string, listen []string) (ok bool) {
	before := len(t.errs)
	if len(listen) == 0 {
		t.fail(at, `needs listen = "websocket://127.0.0.1:2346"`)
	}
	for _, addr := range listen {
		if err := CheckListen(addr); err != nil {
			t.fail(at, "%v", err)
		}
	}
	return len(t.errs) == before
}

// CheckListen judges the address of a worker group. Port 0 means any.
func CheckListen(addr string) error {
	if err := worker.CheckListen(addr); err != nil {
		return err
	}
	_, rest, _ := strings.Cut(addr, "://")
	if strings.HasPrefix(rest, "/") {
		return checkSocketPath(rest)
	}
	_, port, err := net.SplitHostPort(rest)
	if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
		return fmt.Errorf("listen address %q: %q is no port number", addr, port)
	}
	return nil
}

// takesRoutes reports whether any of the addresses has paths.
func takesRoutes(listen []string) bool {
	for _, addr := range listen {
		if s := strings.TrimSuffix(Scheme(addr), "+tls"); s == "websocket" || s == "http" {
			return true
		}
	}
	return false
}

func (t *table) checkPattern(r Route) {
	switch p := r.Pattern; {
	case !strings.HasPrefix(p, "/"):
		t.fail(r.At, `the path begins with "/"`)
	case strings.Contains(strings.TrimSuffix(p, "/*"), "*"):
		t.fail(r.At, `"*" may only end a path, as in "/files/*"`)
	}
}

func (t *table) checkWebhook(h pusher.Webhook) {
	for name, value := range h.Headers {
		switch {
		case !headerName.MatchString(name): // it may be all of `Name: secret`
			t.fail(t.where("headers"), `a name has letters, digits and - only: write headers = { Name = "value" }`)
		case strings.ContainsFunc(value, unicode.IsControl):
			t.fail(t.where("headers"), "%q has a control character and cannot be sent", name)
		}
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || badPort(u) {
		t.fail(t.where("url"), `write "https://host/path"`)
	}
}

// badPort reports whether a URL names a port that there is not.
func badPort(u *url.URL) bool {
	if u.Port() == "" {
		return false
	}
	n, err := strconv.Atoi(u.Port())
	return err != nil || n < 1 || n > 65535
}
