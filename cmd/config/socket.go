package config

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// socket reads who may connect to unix sockets, if there may be some.
func (t *table) socket(s *Socket, some bool) {
	mode := ""
	t.str("socket_mode", &mode)
	t.str("socket_group", &s.Group)
	if mode == "" && s.Group == "" {
		return
	}
	if !some {
		t.fail(t.at(t.path), "socket_mode and socket_group are for unix sockets: listen = \"unix:///path\"")
	}
	if mode != "" {
		n, err := strconv.ParseUint(mode, 8, 32)
		if err != nil || n > 0o777 || n&0o600 != 0o600 {
			t.fail(t.where("socket_mode"), "%q: write an octal mode as a text, from \"0600\" to \"0777\", that lets pushd itself in", mode)
		}
		s.Mode = uint32(n)
	}
	if s.Group != "" {
		if err := checkGroup(s.Group); err != nil {
			t.fail(t.where("socket_group"), "%v", err)
		}
	}
}

func isUnix(listen string) bool {
	_, rest, found := strings.Cut(listen, "://")
	return found && strings.HasPrefix(rest, "/")
}

// checkGroup finds out before the start whether a socket can be given to a group.
func checkGroup(name string) error {
	gid, err := strconv.Atoi(name)
	if err != nil {
		g, err := user.LookupGroup(name)
		if err != nil {
			return fmt.Errorf("there is no group %q", name)
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	mine, _ := os.Getgroups()
	if os.Geteuid() != 0 && gid != os.Getegid() && !slices.Contains(mine, gid) {
		return fmt.Errorf("%q: only root may give a socket to a group that it is not in", name)
	}
	return nil
}
