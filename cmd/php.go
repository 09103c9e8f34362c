package cmd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker/handler/script/php"
)

// `pushd php FILE VERB` is pushd for one PHP program: the words behind FILE are
// pushd's, and what runs is what the file says of itself.

// Variables of a PHP program's pushd. They are in its environment, so that each
// plan of its master finds them too.
const (
	phpRootFlag  = "--allow-root"
	phpEnv       = "PUSHD_PHP"        // the binary
	phpRootEnv   = "PUSHD_ALLOW_ROOT" // 1: the program may run as root
	phpWatchEnv  = "PUSHD_WATCH"      // 1: a changed file reloads
	phpDaemonEnv = "PUSHD_PHP_DAEMON" // 1: started with -d
)

// phpFile is the program of `pushd php FILE`.
type phpFile struct {
	typed string   // as the command line has it
	path  string   // absolute, symbolic links kept: a deploy may lead it elsewhere
	args  []string // its own, behind the file
}

const phpUsage = `Usage: %s <command> [mode]
Commands:
start        Start the program in the foreground.
             Use mode -d to start it as a daemon.
stop         Stop it.
             Use mode -g to wait until its clients have left.
restart      Stop, then start.
             Use mode -d or -g as above.
reload       Take over new code; its clients stay connected.
status       Show its processes.
             Use mode -d to show them every second.
connections  List its connections.
             Use mode -d to show them every second.
All other commands of pushd can stand there too: %s help lists them.
Arguments of the program's own stand behind all that, and behind --.
Flags:
--allow-root   The program may run as root.
`

const phpInstallUsage = `Plain "php FILE start" can do the same:
%[1]s --install FILE…    Of these programs.
%[1]s --uninstall FILE…  Of these no more.
%[1]s --uninstall        Of none any more.
`

// php obeys `pushd php …`.
func (p *Program) php(args []string, out, errOut io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintf(errOut, phpUsage, p.typed()+" php FILE", p.typed())
		return exitMisuse
	}
	switch args[0] {
	case "--help", "-h":
		fmt.Fprintf(out, phpUsage, p.typed()+" php FILE", p.typed())
		fmt.Fprintf(out, phpInstallUsage, p.typed()+" php")
		return exitOK
	case "--install":
		return p.report(p.phpInstall(args[1:], out), false, out, errOut)
	case "--uninstall":
		return p.report(phpUninstall(args[1:], out), false, out, errOut)
	}
	words, own := p.phpArguments(args[1:])
	sub, err := p.forPHP(args[0], own)
	if err != nil {
		return p.report(err, false, out, errOut)
	}
	rest, err := sub.phpWords(words, errOut)
	if err != nil || rest == nil {
		return p.report(err, false, out, errOut)
	}
	return sub.execute(rest, out, errOut)
}

// forPHP is the program that a PHP file makes of pushd, with arguments of its own. They may
// be in one word with the file, as in `script` of a config.
func (p *Program) forPHP(file string, own []string) (*Program, error) {
	if words, err := script.Split(file); err == nil && len(words) > 1 && !isFile(file) {
		file, own = words[0], append(words[1:], own...)
	}
	path := phpPath(file)
	sub := *p
	sub.script = &phpFile{typed: file, path: path, args: own}
	sub.instance = phpInstance(path, own)
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && phpRuns(&sub, sub.instance) {
		return &sub, nil // removed or renamed: what runs of it can be looked at and stopped
	} else if err != nil && strings.HasPrefix(file, "-") {
		return nil, p.phpFlag(file)
	} else if err != nil {
		return nil, misusef("%v: name the file that starts the server: %s php FILE start", err, p.typed())
	} else if info.IsDir() {
		return nil, misusef("%s is a folder: name the file that starts the server", path)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path { // it may have been started by the other name
		other := phpInstance(real, own)
		if !phpRuns(&sub, sub.instance) && phpRuns(&sub, other) {
			sub.instance = other
		}
	}
	return &sub, nil
}

// phpFlag is the error of a flag where the file should be.
func (p *Program) phpFlag(flag string) error {
	if near := config.Nearest(flag, map[string]bool{"--help": true, "--install": true, "--uninstall": true}); near != "" {
		return misusef("there is no flag %s: did you mean `%s php %s`?", flag, p.typed(), near)
	}
	return misusef("flags come behind the file and its verb: %s php FILE start %s", p.typed(), flag)
}

// phpInstance names the folders of a program, so that many can run on one
// machine: of one file with other arguments, too.
func phpInstance(path string, own []string) string {
	base := strings.TrimSuffix(filepath.Base(path), ".php")
	base = strings.Trim(regexp.MustCompile(`[^A-Za-z0-9_-]+`).ReplaceAllString(base, "-"), "-")
	sum := sha256.Sum256([]byte(strings.Join(append([]string{path}, own...), "\x00")))
	return fmt.Sprintf("php-%.24s-%s", base, hex.EncodeToString(sum[:4]))
}

func phpRuns(p *Program, instance string) bool {
	named := *p
	named.instance = instance
	cfg, _ := named.load(named.source("", ""))
	if cfg == nil {
		return false
	}
	_, runs := master.MasterPID(cfg.RuntimeDir)
	return runs
}

// phpWords turns Workerman's words into pushd's. nil without an error: there was
// nothing to do but to say how it is used.
func (p *Program) phpWords(args []string, errOut io.Writer) ([]string, error) {
	verb, _ := splitCommand(args)
	args = slices.Clone(args)
	drop := func(flag, instead string) {
		if i := slices.Index(args, flag); i >= 0 {
			args = slices.Delete(args, i, i+1)
			if instead != "" {
				args = append(args, instead)
			}
		}
	}
	for flag, env := range map[string]string{phpRootFlag: phpRootEnv, "--watch-files": phpWatchEnv} {
		if slices.Contains(args, flag) {
			drop(flag, "")
			os.Setenv(env, "1")
		}
	}
	if verb == "" && !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--") }) {
		found, err := p.phpPlan(errOut)
		if err != nil {
			return nil, err
		}
		if found.Kind == "workerman" && len(p.script.args) > 0 {
			return nil, misusef("a program of Workerman is told what to do: `%s start`", p.typed())
		}
		if found.Kind == "workerman" {
			fmt.Fprintf(errOut, phpUsage, p.typed(), p.typed())
			return nil, nil
		}
		args, verb = append([]string{"start"}, args...), "start" // as Ratchet and Swoole do
		if found.Daemonize {
			args = append(args, "-d")
		}
	}
	switch verb {
	case "status", "connections":
		drop("-d", "--watch")
	case "reload":
		drop("-g", "") // each is graceful
	case "start":
		drop("-g", "")
	}
	if (verb == "start" || verb == "restart") && (slices.Contains(args, "-d") || slices.Contains(args, "--daemon")) {
		os.Setenv(phpDaemonEnv, "1")
	}
	return args, nil
}

// prefix are the words before the verb of another run of this program.
func (p *Program) prefix() []string {
	if p.script == nil {
		return nil
	}
	return []string{"php", p.script.words(p.script.path)}
}

// load reads a config. Where PHP programs share a machine none has the API's port.
func (p *Program) load(src config.Source) (*config.Config, error) {
	cfg, err := config.Load(src)
	if p.script != nil && cfg != nil && cfg.File == "" && os.Getenv("PUSHD_API_LISTEN") == "" {
		cfg.API.Listen = "unix://" + phpSocket(cfg)
	}
	return cfg, err
}

// phpSocket is the API of a PHP program to which nobody gives another address.
func phpSocket(cfg *config.Config) string { return filepath.Join(cfg.RuntimeDir, "api.sock") }

// findAPI asks the master of a PHP program, which may have been started with another
// PUSHD_API_LISTEN than this shell has.
func (c *call) findAPI(cfg *config.Config) {
	if _, err := os.Lstat(phpSocket(cfg)); cfg.API.Listen != "unix://"+phpSocket(cfg) || !errors.Is(err, fs.ErrNotExist) {
		return
	}
	client, err := c.dial()
	if err != nil {
		return
	}
	defer client.Close()
	if s, err := getStatus(client); err == nil && len(s.Broker.Listen) > 0 { // the API is the first
		cfg.API.Listen = strings.TrimPrefix(s.Broker.Listen[0], "http://")
	}
}

// isPHP reports whether a word of the command line is the file of a PHP program.
func (p *Program) isPHP(word string) bool { return !p.own() && strings.HasSuffix(word, ".php") }

// phpFlags are those of the commands that may run the program. phpWords has taken them.
func (p *Program) phpFlags(command string) []cli.Flag {
	if p.script == nil || !slices.Contains([]string{"start", "restart", "reload", "check", "plan", "doctor"}, command) {
		return nil
	}
	return []cli.Flag{&cli.BoolFlag{Name: strings.TrimPrefix(phpRootFlag, "--"), Usage: "the program may run as root"}}
}

// phpBinary is PHP as PUSHD_PHP names it, else the one in PATH.
func phpBinary() (string, error) {
	name := os.Getenv(phpEnv)
	if name == "" {
		return "php", nil
	}
	if _, err := exec.LookPath(name); err != nil {
		return "", fmt.Errorf("%s names %s, which cannot be run: %w", phpEnv, name, errors.Unwrap(err))
	}
	return name, nil
}

// phpCommand is how the program is run. The files that PHP runs first are
// written where the users of the program's processes can read them, and only
// this user can write.
func (p *Program) phpCommand(binary, runtimeDir string) (*php.Command, error) {
	dir := runtimeDir
	if os.Geteuid() == 0 {
		dir = "/run/pushd-php"
	}
	first, err := php.Write(dir)
	if err != nil {
		return nil, err
	}
	return &php.Command{
		PHP: binary, File: p.script.path, Args: p.script.args, Dir: master.WorkingDir(), Shim: first, Daemon: os.Getenv(phpDaemonEnv) != "",
	}, nil
}

// phpPlan runs the file for what it says of itself, in a folder that is gone
// afterwards.
func (p *Program) phpPlan(out io.Writer) (*php.Program, error) {
	dir, err := os.MkdirTemp("", "pushd-php-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary, err := phpBinary()
	if err != nil {
		return nil, err
	}
	c, err := p.phpCommand(binary, dir)
	if err != nil {
		return nil, err
	}
	return c.Plan(noContext(), out)
}
