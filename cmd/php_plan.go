package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/script/php"
)

func noContext() context.Context { return context.Background() }

// phpGroups plans the groups of `pushd php FILE`.
func (b *planner) phpGroups() {
	binary, err := phpBinary()
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	c, err := b.program.phpCommand(binary, b.config.RuntimeDir)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	c.Alone = true
	w := config.Worker{Settings: worker.DefaultSettings(), Handler: &config.Route{Handler: "script", Origins: []string{"*"}}}
	w.Settings.Limits.MaxMessage, w.Settings.Limits.MaxBody, w.Settings.Limits.MaxQueue = phpMaxMessage, phpMaxBody, phpMaxQueue
	b.phpDeclared(w, c, map[string]any{
		"allow_root": os.Getenv(phpRootEnv) != "", "watch": os.Getenv(phpWatchEnv) != "", "output": "raw",
	})
}

// phpWorker plans the groups of a PHP program that a config names: groups,
// addresses and counts are the program's, all else is the table's.
func (b *planner) phpWorker(w config.Worker, command []string, options map[string]any) {
	dir, _ := options["dir"].(string)
	file := command[1]
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	named := *b.program
	named.script = &phpFile{typed: file, path: file, args: withoutStart(command[2:])}
	c, err := named.phpCommand(command[0], b.config.RuntimeDir)
	if err != nil {
		b.fail(w.At, err)
		return
	}
	c.Dir = dir
	if len(w.Handler.Origins) == 0 {
		w.Handler.Origins = []string{"*"}
	}
	b.phpDeclared(w, c, options)
}

// withoutStart leaves out what Workerman's users write behind the file.
func withoutStart(args []string) []string {
	if len(args) == 0 || args[0] != "start" {
		return args
	}
	args = args[1:]
	if len(args) > 0 && args[0] == "-d" {
		args = args[1:]
	}
	return args
}

// phpDeclared plans what a PHP program declares. What the file prints meanwhile
// goes to stderr.
func (b *planner) phpDeclared(w config.Worker, c *php.Command, options map[string]any) {
	found, err := c.Plan(noContext(), os.Stderr)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	groups := make([]config.Worker, len(found.Groups))
	targets := make([]config.Target, len(found.Groups))
	for i, g := range found.Groups {
		groups[i] = b.phpGroup(w, c, g, found, options)
		targets[i] = config.Target{Listen: &groups[i].Listen, Count: &groups[i].Count}
	}
	if len(b.config.Workers) < 2 { // else it is for those that the config describes
		if err := b.config.Override.Apply(targets); err != nil {
			b.errs = append(b.errs, err)
		}
	}
	for _, g := range groups {
		b.configGroup(g)
	}
}

// errPHPRoot is of a program that would run as root. PUSHD_ALLOW_ROOT and the flag are not of one that a config names.
func (b *planner) errPHPRoot() error {
	allow := "say " + phpRootFlag
	if b.program.script == nil {
		allow = "set allow_root = true in [[worker]]"
	}
	return fmt.Errorf("a PHP program is not run as root: set $worker->user (www-data, or one of its own), start it as that user, or %s", allow)
}

// phpGroup is one group, in the words of a config. Its process is told what is
// served of the whole program.
func (b *planner) phpGroup(w config.Worker, c *php.Command, g php.Group, of *php.Program, options map[string]any) config.Worker {
	w.At = fmt.Sprintf("%s: worker %q", c.File, g.Name)
	root, _ := options["allow_root"].(bool)
	w.Name, w.Listen, w.Count = g.Name, g.Listen, g.Count
	if len(w.Listen) == 0 { // a Worker for timers: a group needs a listener, so it gets one that nobody else may use
		w.Listen, w.Socket = []string{"unix://" + filepath.Join(b.config.RuntimeDir, g.Name+".sock")}, config.Socket{Mode: 0o600}
	}
	if g.User != "" {
		w.User, w.Group = g.User, g.Group
	}
	if os.Geteuid() == 0 && !root && (w.User == "" || w.User == "root") {
		b.fail(w.At, b.errPHPRoot())
		root = true // it is said
	}
	if g.TLS != nil {
		if err := phpSecure(&w, c.Dir, g.TLS); err != nil {
			b.fail(w.At, err)
		}
	}
	if n := g.MaxMessage; n > 0 {
		w.Settings.Limits.MaxMessage = min(w.Settings.Limits.MaxMessage, n)
	}
	if n := g.MaxBody; n > 0 {
		w.Settings.Limits.MaxBody = min(n, b.phpBody(w))
	}
	if w.Settings.Limits.MaxConnections == 0 {
		w.Settings.Limits.MaxConnections = g.MaxConnections
	}
	args, env := c.Handler()
	all := maps.Clone(options)
	mine, _ := options["env"].(map[string]any)
	every := map[string]any{php.ServedEnv: of.Served()}
	if g.Name != of.Groups[0].Name { // one start of the program, one first process
		every[script.RunEnv] = script.RunNext
	}
	maps.Copy(every, mine)
	for k, v := range env {
		every[k] = v
	}
	all["script"], all["dir"], all["env"], all["allow_root"] = args, c.Dir, every, root
	if _, set := all["title"]; !set {
		all["title"] = filepath.Base(c.File)
	}
	r := *w.Handler
	r.At, r.Options = w.At, mustJSON(all)
	w.Handler, w.Routes = &r, nil
	return w
}

// phpBody is the longest body, in bytes, that a program may ask for: what its config
// has, and where there is none, more than who does not ask gets.
func (b *planner) phpBody(w config.Worker) int {
	if most := w.Settings.Limits.MaxBody; b.program.script == nil && most > 0 {
		return most
	}
	return phpMostBody
}

var errPHPCertificate = errors.New("its transport is ssl, and its context names no certificate: new Worker($address, ['ssl' => ['local_cert' => 'cert.pem', 'local_pk' => 'key.pem']]), or set(['ssl_cert_file' => …, 'ssl_key_file' => …]) of Swoole")

// phpSecure puts the listeners of a Worker whose transport is ssl behind TLS. The
// certificate is the program's, unless [[worker]] has one, and so is who signs
// those of clients.
func phpSecure(w *config.Worker, dir string, files *php.TLS) error {
	if w.Settings.TLS == nil {
		if files.Cert == "" {
			return errPHPCertificate
		}
		cert, err := absolute(dir, files.Cert)
		if err != nil {
			return err
		}
		key, err := absolute(dir, files.Key)
		if err != nil {
			return err
		}
		w.Settings.TLS = &worker.TLS{Certificates: []certs.Files{{Cert: cert, Key: key}}}
	}
	if files.ClientCA != "" && w.Settings.TLS.ClientCA == "" {
		ca, err := absolute(dir, files.ClientCA)
		if err != nil {
			return err
		}
		t := *w.Settings.TLS
		t.ClientCA = ca
		w.Settings.TLS = &t
	}
	if slices.ContainsFunc(w.Listen, func(l string) bool { return strings.Contains(l, "+tls://") }) {
		return nil // it says which of its listeners are
	}
	w.Listen = slices.Clone(w.Listen)
	for i, l := range w.Listen {
		scheme, address, _ := strings.Cut(l, "://")
		w.Listen[i] = scheme + "+tls://" + address
	}
	return nil
}

// absolute is where a name that is relative to dir leads.
func absolute(dir, name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return filepath.Abs(name)
}

// phpMaxMessage is what Workerman takes by default rather than what we do, in
// bytes: its programs are not written for less.
const phpMaxMessage = 1 << 20

// phpMaxBody is what Swoole takes of a request by default, in bytes: a form with a
// picture is more than our default.
const phpMaxBody = 2 << 20

// phpMostBody is the most that a program's package_max_length raises that to.
const phpMostBody = 32 << 20

// phpMaxQueue lets Workerman's own limit act before ours, in bytes: a program is
// told at half of it (FULL), and what it sends then waits in PHP (shim/outbox.php).
const phpMaxQueue = 4 << 20

// phpTitle names the program where a command is hinted at.
func (f *phpFile) title() string { return "php " + shellWord(strings.TrimSpace(f.words(f.typed))) }
