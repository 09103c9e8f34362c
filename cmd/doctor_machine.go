package cmd

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/pushd/pushd/cmd/config"
)

// machine is what doctor asks of the system, so that tests can bring their own.
type machine struct {
	sysctl func(name string) (value int, ok bool)
	nofile func() (soft, hard uint64)
	bind   func(scheme, addr string) error // listens for a moment
}

var thisMachine = machine{sysctl: readSysctl, nofile: nofile, bind: bind}

// enoughFiles is the descriptor limit below which doctor warns: clients of one
// process, a connection each.
const enoughFiles = 10_000

// sysctls are the settings of the kernel that bound how many clients come in,
// with the value from which on they do not matter.
var sysctls = []struct {
	name  string
	least int
	why   string
}{
	{"net.core.somaxconn", 4096, "clients that connect at once wait in a queue of this length"},
	{"net.ipv4.tcp_max_syn_backlog", 1024, "handshakes of TCP under way"},
	{"net.netfilter.nf_conntrack_max", 262144, "connections that the firewall remembers; those beyond are dropped"},
	{"fs.file-max", 100_000, "open files of the whole machine"},
}

func (m machine) examine() (out []finding) {
	soft, hard := m.nofile()
	f := fine("nofile", "%d descriptors for each process, one a connection", max(soft, hard))
	if hard < enoughFiles {
		f = f.warn("ulimit -Hn 1048576 in the shell that starts it; in a unit LimitNOFILE=1048576; in Docker --ulimit nofile=1048576")
	}
	out = append(out, f)
	for _, s := range sysctls {
		v, ok := m.sysctl(s.name)
		if !ok {
			continue // not there: the module is not loaded, or /proc is restricted
		}
		f := fine("sysctl", "%s = %d (%s)", s.name, v, s.why)
		if v < s.least {
			f = f.warn("sysctl -w %s=%d", s.name, s.least)
		}
		out = append(out, f)
	}
	return out
}

func readSysctl(name string) (int, bool) {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0, false
	}
	text := strings.TrimSpace(string(b))
	v, err := strconv.Atoi(text)
	if err != nil { // more than an int holds
		v = int(^uint(0) >> 1)
	}
	return v, text != ""
}

func nofile() (soft, hard uint64) {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0, 0
	}
	return uint64(l.Cur), uint64(l.Max)
}

// bind listens at an address and closes it again.
func bind(scheme, addr string) error {
	if scheme == "udp" {
		c, err := net.ListenPacket("udp", addr)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		err = l.Close()
	}
	return err
}

// ports tries each address that a start would listen on.
func ports(cfg *config.Config, m machine) (out []finding) {
	for _, l := range listens(cfg) {
		scheme, addr, _ := strings.Cut(l, "://")
		if strings.HasPrefix(addr, "/") {
			continue // a unix socket: its folder's owner decides
		}
		f := fine("port", "%s is free", l)
		if err := m.bind(scheme, addr); err != nil {
			f = fine("port", "%s: %v", l, err).fail("%s", freeing(addr, err))
		}
		out = append(out, f)
	}
	return out
}

// goneSockets are unix sockets of a pushd that runs to which nobody finds the way.
func (c *call) goneSockets(cfg *config.Config) (out []finding) {
	for _, l := range append(listens(cfg), cfg.API.Listen, cfg.Metrics.Listen) {
		_, path, _ := strings.Cut(l, "://")
		if !strings.HasPrefix(path, "/") {
			continue
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			out = append(out, fine("ports", "there is no file %s, so that no client gets in there", path).fail("`%s reload` makes it anew", c.program.typed()))
		}
	}
	return out
}

func listens(cfg *config.Config) (out []string) {
	for _, w := range cfg.Workers {
		out = append(out, w.Listen...)
	}
	for _, in := range cfg.Ingest {
		out = append(out, in.Listen)
	}
	for _, service := range []string{cfg.API.Listen, cfg.Metrics.Listen} {
		if service != "" && !strings.Contains(service, "://") {
			out = append(out, "http://"+service)
		}
	}
	return out
}

// freeing is what gives us a port.
func freeing(addr string, err error) string {
	_, port, _ := net.SplitHostPort(addr)
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "ip addr names the addresses of this machine; 0.0.0.0 is all of them"
	case errors.Is(err, fs.ErrPermission):
		return "start as root (the workers may have a `user`), listen above 1024, or in a unit AmbientCapabilities=CAP_NET_BIND_SERVICE"
	}
	return "ss -ltnup 'sport = :" + port + "' names who holds it; or listen elsewhere"
}
