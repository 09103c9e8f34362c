package master

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// credentialOf returns what a process that runs as the given user and group is
// started with; nil means the master's own. Both may be names or numbers; an
// empty group is the user's own, and the supplementary groups are always the user's.
func credentialOf(userName, groupName string) (*syscall.Credential, error) {
	if userName == "" && groupName == "" {
		return nil, nil
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	var groups []uint32
	if userName != "" {
		u, err := lookUpUser(userName)
		if err != nil {
			return nil, err
		}
		uid, gid = number(u.Uid), number(u.Gid)
		if groups, err = supplementary(u); err != nil {
			return nil, err
		}
	}
	if groupName != "" {
		g, err := lookUpGroup(groupName)
		if err != nil {
			return nil, err
		}
		gid = number(g)
	}
	if uid == uint32(os.Geteuid()) && gid == uint32(os.Getegid()) {
		return nil, nil
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("run as user %d, group %d: only root can change user (run as root, or remove user and group)", uid, gid)
	}
	return &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}, nil
}

// CredentialOf returns what a process of that user is started with, who may be named by
// number; nil means this process's own.
func CredentialOf(userName string) (*syscall.Credential, error) { return credentialOf(userName, "") }

// AsUser runs do with the rights that a process of that user and group has on
// files, if this one may change to it; do stays on its goroutine.
func AsUser(userName, groupName string, do func() error) error {
	cred, err := credentialOf(userName, groupName)
	if err != nil || cred == nil {
		return do()
	}
	return asUser(cred, do)
}

// supplementary returns the groups of u; a mere number has none.
func supplementary(u *user.User) (groups []uint32, err error) {
	if u.Username == "" {
		return nil, nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("look up the groups of user %q: %w", u.Username, err)
	}
	for _, id := range ids {
		groups = append(groups, number(id))
	}
	return groups, nil
}

func lookUpUser(name string) (*user.User, error) {
	if u, err := user.Lookup(name); err == nil {
		return u, nil
	}
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		return nil, fmt.Errorf("unknown user %q: use a name of /etc/passwd or a number", name)
	}
	if u, err := user.LookupId(name); err == nil {
		return u, nil
	}
	return &user.User{Uid: name, Gid: name}, nil
}

func lookUpGroup(name string) (gid string, err error) {
	if g, err := user.LookupGroup(name); err == nil {
		return g.Gid, nil
	}
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		return "", fmt.Errorf("unknown group %q: use a name of /etc/group or a number", name)
	}
	return name, nil
}

// number converts an id that the system or a check above has vouched for.
func number(id string) uint32 {
	n, _ := strconv.ParseUint(id, 10, 32)
	return uint32(n)
}
