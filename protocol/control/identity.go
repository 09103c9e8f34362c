package control

import (
	"strconv"
	"strings"
)

// Identity names a worker process. Its text, "group/slot/generation" with
// "node/" before it where there are several nodes, is how processes call each
// other on the bus and in rosters; only this file knows its form. Identities can
// be compared.
type Identity struct {
	Node       string // the machine's pushd; "" = the only one
	Group      string
	Slot       int // from 0
	Generation int
}

// Identity is that of a worker, on the only node.
func (i *Init) Identity() Identity {
	return Identity{Group: i.Name, Slot: i.Slot, Generation: i.Generation}
}

// On returns the identity on a node.
func (i Identity) On(node string) Identity {
	i.Node = node
	return i
}

// Place is what a process and its replacement in a reload have in common.
func (i Identity) Place() Identity {
	i.Generation = 0
	return i
}

func (i Identity) String() string {
	s := i.Group + "/" + strconv.Itoa(i.Slot) + "/" + strconv.Itoa(i.Generation)
	if i.Node != "" {
		s = i.Node + "/" + s
	}
	return s
}

// ParseIdentity reads what String has written.
func ParseIdentity(s string) (i Identity, ok bool) {
	parts := strings.Split(s, "/")
	if len(parts) == 4 && parts[0] != "" {
		i.Node, parts = parts[0], parts[1:]
	}
	if len(parts) != 3 || parts[0] == "" {
		return Identity{}, false
	}
	i.Group = parts[0]
	var slotErr, generationErr error
	i.Slot, slotErr = strconv.Atoi(parts[1])
	i.Generation, generationErr = strconv.Atoi(parts[2])
	if slotErr != nil || generationErr != nil || i.Slot < 0 || i.Generation < 0 || i.String() != s {
		return Identity{}, false
	}
	return i, true
}
