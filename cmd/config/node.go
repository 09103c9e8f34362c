package config

import (
	"os"
	"strings"
)

// hostNode makes the default name of a node: the host's, of such characters as
// a name may have.
func hostNode() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "node"
	}
	name := strings.Map(func(r rune) rune {
		if groupName.MatchString(string(r)) {
			return r
		}
		return '-'
	}, host)
	name = name[:min(len(name), longestName)]
	if !groupName.MatchString(name) {
		return "node"
	}
	return name
}
