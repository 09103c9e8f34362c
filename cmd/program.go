// Package cmd gives a program pushd's commands: start, stop, restart, reload,
// status, connections and those beside them.
//
//	cmd.Main()                 pushd itself: the workers come from the config
//	cmd.Run(w1, w2)            a program with workers of its own
//	cmd.Program{…}.Main()      the same with defaults of one's own
//
// The same binary is the command line, the master and every child process: a
// child is recognised by an environment variable before anything else happens.
package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/memory"
)

// Version is the version of pushd; `make dist` sets it.
var Version = "dev"

// Program is a command line and what it runs.
type Program struct {
	// Name is part of the default runtime_dir and data_dir and of messages.
	// Default: the name of the binary.
	Name string
	// LogFile is the default of log_file; a relative path counts from the
	// working directory. Default: stderr.
	LogFile string
	// Workers are declared in code. Without any they come from the config.
	Workers []*worker.Worker

	calledAs  string   // what was typed, see typed
	script    *phpFile // the PHP program that it runs, see `pushd php`
	instance  string   // names the default folders; "" = Name
	inherited []int    // descriptors of whoever has started this process
	ready     *os.File // of a daemon: where the command hears of it that started it
}

// Main is pushd with the handlers that the program has imported. It does not
// return.
func Main() { Program{Name: "pushd"}.Main() }

// Run gives the workers of a program pushd's commands. It does not return.
func Run(workers ...*worker.Worker) { Program{Workers: workers}.Main() }

// Main obeys the command line or, in a child process, the master. It does not
// return.
func (p Program) Main() {
	p.inherited = sealDescriptors()
	noHeapProfile()
	if p.Name == "" {
		p.Name = programName(os.Args)
	}
	p.calledAs = calledAs()
	if role := os.Getenv(control.RoleEnv); role != "" {
		os.Exit(runChild(&p, control.Role(role)))
	}
	if os.Getenv(master.TakeoverEnv) != "" {
		os.Exit(takeOver(&p))
	}
	p.ready = readyPipe()
	os.Exit(p.execute(os.Args[1:], os.Stdout, os.Stderr))
}

// noHeapProfile turns off the sampling of allocations, unless the program has
// asked for a rate of its own: few read it, and its table grows to 1.4 MB in
// each of our processes.
func noHeapProfile() {
	const goDefault = 512 << 10
	if runtime.MemProfileRate == goDefault {
		runtime.MemProfileRate = 0
	}
}

// takeOver goes on as the master that has executed this program in its place.
func takeOver(p *Program) int {
	if err := master.TakeOver(context.Background(), Version, memory.Return); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return exitFailed
	}
	return exitOK
}

func programName(args []string) string {
	if len(args) == 0 || args[0] == "" {
		return "pushd"
	}
	return filepath.Base(args[0])
}

// source is where the program's config comes from.
func (p *Program) source(file, runtimeDir string) config.Source {
	name := p.Name
	if p.instance != "" {
		name = p.instance
	}
	return config.Source{
		File: file, RuntimeDir: runtimeDir, Name: name, LogFile: p.LogFile, Program: p.own(), Alone: p.script != nil,
	}
}

// own reports whether the workers are declared in code.
func (p *Program) own() bool { return len(p.Workers) > 0 || p.script != nil }

// find returns the declared worker of that name.
func (p *Program) find(name string) *worker.Worker {
	for _, w := range p.Workers {
		if w.Name == name {
			return w
		}
	}
	return nil
}

func (p *Program) version() string {
	return fmt.Sprintf("%s %s (%s %s/%s)", p.Name, Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// cachedRun is the folder of a binary that `go run` keeps in the build cache.
var cachedRun = regexp.MustCompile(`^[0-9a-f]{64}-d$`)

// underGoRun reports whether path is a binary that `go run` made: a new build
// gets another path.
func underGoRun(path string) bool {
	folder := filepath.Base(filepath.Dir(path))
	return cachedRun.MatchString(folder) ||
		folder == "exe" && strings.Contains(path, string(filepath.Separator)+"go-build")
}
