package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pushd/pushd/cmd/config"
)

// origins warns of pages of strangers that may connect.
func origins(cfg *config.Config) (out []finding) {
	for _, w := range cfg.Workers {
		for _, r := range w.All() {
			if slices.Contains(r.Origins, "*") && r.Handler != "pusher" { // there signatures say who may what
				what, key := "route "+r.Pattern, strconv.Quote(r.Pattern)
				if r.Pattern == "" {
					what, key = "the handler", "handler"
				}
				out = append(out, fine("origins", "%s of %s lets every web page connect", what, w.Name).
					warn(`%s = { handler = %q, origins = ["https://example.com"] }`, key, r.Handler))
			}
		}
		if w.Uses("demo") && public(w.Listen) {
			out = append(out, fine("origins", "group %s shows the demo page, and its counters, to other machines", w.Name).
				warn("leave out the route with the handler demo"))
		}
	}
	return out
}

// public reports whether other machines can reach one of the addresses.
func public(listen []string) bool {
	return slices.ContainsFunc(listen, func(l string) bool {
		_, addr, _ := strings.Cut(l, "://")
		a, err := netip.ParseAddrPort(addr)
		return err == nil && !a.Addr().IsLoopback()
	})
}

// folder looks whether a folder can be used, or made; it may be that of owners too.
func folder(what, dir string, owners ...int) finding {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return folderToBe(what, dir)
	}
	if err != nil {
		return fine(what, "%v", err).fail("choose another %s", what)
	}
	owner := -1
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	switch {
	case !info.IsDir():
		return fine(what, "%s is no folder", dir).fail("choose another %s", what)
	case !slices.Contains(append(owners, os.Geteuid(), 0), owner):
		return fine(what, "%s belongs to user %d, not to you (%d)", dir, owner, os.Geteuid()).fail("%s", owning(dir, owner))
	case info.Mode().Perm()&0o002 != 0:
		return fine(what, "%s can be written by everybody", dir).fail("chmod o-w %s", shellWord(dir))
	case !writable(dir):
		return fine(what, "%s cannot be written", dir).fail("chown %d %s", os.Geteuid(), shellWord(dir))
	}
	return fine(what, "%s", dir)
}

// owning is what is to be done about a folder of somebody else: root may be asking for him.
func owning(dir string, owner int) string {
	chown := fmt.Sprintf("chown %d %s", os.Geteuid(), shellWord(dir))
	if os.Geteuid() == 0 {
		return fmt.Sprintf("if pushd runs as user %d: do this as that user; if it runs as root: %s", owner, chown)
	}
	return chown
}

// runtimeFolder looks at runtime_dir.
func runtimeFolder(cfg *config.Config) finding {
	if unitMakes(cfg) {
		return fine("runtime_dir", "%s will be made by the unit", cfg.RuntimeDir)
	}
	return folder("runtime_dir", cfg.RuntimeDir)
}

// folderToBe looks whether the start could make a folder.
func folderToBe(what, dir string) finding {
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		_, err := os.Stat(up)
		if err == nil && writable(up) {
			return fine(what, "%s will be made", dir)
		}
		if err == nil || up == filepath.Dir(up) {
			return fine(what, "%s cannot be made in %s", dir, up).fail("sudo install -d -o %d %s", os.Geteuid(), shellWord(dir))
		}
	}
}

// writable asks the kernel, as this process's user.
func writable(dir string) bool { return syscall.Access(dir, 0x2 /* W_OK */) == nil }

// keyFile looks at the API's generated key.
func keyFile(cfg *config.Config) []finding {
	if cfg.API.Listen == "" || cfg.API.Key != "" {
		return nil
	}
	info, err := os.Stat(cfg.KeyFile())
	if errors.Is(err, fs.ErrNotExist) {
		return []finding{fine("api.key", "%s will be made at the first start", cfg.KeyFile())}
	}
	if err != nil {
		return []finding{fine("api.key", "%v", err).fail("run this as the user that pushd runs as")}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return []finding{fine("api.key", "%s can be read by others", cfg.KeyFile()).fail("chmod 600 %s", shellWord(cfg.KeyFile()))}
	}
	return []finding{fine("api.key", "%s", cfg.KeyFile())}
}
