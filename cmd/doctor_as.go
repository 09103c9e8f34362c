package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// serversUser is who starts the server that root asks about: whose the master is that
// runs, else whose the folders are that a unit has made, where nobody but root could
// have put them. Others ask about a server of their own.
func serversUser(cfg *config.Config) int {
	self := os.Geteuid()
	if self != 0 {
		return self
	}
	if pid, ok := master.MasterPID(cfg.RuntimeDir); ok {
		if info, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			return int(info.Sys().(*syscall.Stat_t).Uid)
		}
		return self
	}
	dirs := []string{cfg.RuntimeDir}
	if cfg.Broker.User == "" { // else data_dir is given to the broker process
		dirs = append(dirs, cfg.DataDir)
	}
	for _, dir := range dirs {
		if f, err := master.OpenShared(dir); err == nil {
			defer f.Close()
			return f.Owner()
		}
	}
	return self
}

// rootAsksEnv marks a doctor whom root has made another user.
const rootAsksEnv = "PUSHD_DOCTOR_OF_ROOT"

// unitMakes reports whether the default runtime_dir is made for the server by a unit, as
// root, at its start: it goes away with each stop.
func unitMakes(cfg *config.Config) bool {
	_, err := os.Stat(cfg.RuntimeDir)
	return os.Getenv(rootAsksEnv) != "" && cfg.Place("runtime_dir") == "runtime_dir" && errors.Is(err, fs.ErrNotExist)
}

// doctorAs runs doctor as that user, in a process of its own: with his rights on files,
// and the default folders that root has found.
func (c *call) doctorAs(uid int, cfg *config.Config) error {
	cred, err := master.CredentialOf(strconv.Itoa(uid))
	if err != nil {
		return err
	}
	args := append(append(c.program.prefix(), "doctor"), c.sameFlags(cfg)...)
	if c.json() {
		args = append(args, "--json")
	}
	run := exec.Command("/proc/self/exe", args...) // he may not find the way to the file
	run.Args[0] = os.Args[0]
	run.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+cfg.RuntimeDir, "STATE_DIRECTORY="+cfg.DataDir, rootAsksEnv+"=1")
	run.Stdout, run.Stderr = c.out, c.err
	run.SysProcAttr = attributesOf(cred)
	if cfg.File == "" && c.program.script == nil {
		run.Dir = "/" // a file here is none of his
	}
	err = run.Run()
	if errors.As(err, new(*exec.ExitError)) {
		return errTold
	}
	if err != nil {
		return fmt.Errorf("run doctor as user %d: %w", uid, err)
	}
	return nil
}
