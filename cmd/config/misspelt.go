package config

import (
	"fmt"
	"maps"
	"strings"
)

// variables is what begins the names of all variables that are ours.
const variables = "PUSHD_"

// Misspelt says, beside those of the config and the others named, of each variable of environ, as "NAME=value", that nobody reads which
// one is most likely meant. Those that are like none are somebody's: Kubernetes has
// PUSHD_PORT and others for a service named pushd.
func (c *Config) Misspelt(environ []string, others ...string) (notes []string) {
	known := maps.Clone(c.read)
	for _, name := range others {
		known[strings.TrimPrefix(name, variables)] = true
	}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		word, ours := strings.CutPrefix(name, variables)
		if !ours || value == "" || known[word] {
			continue
		}
		if near := Nearest(word, known); near != "" {
			notes = append(notes, fmt.Sprintf("%s: nothing reads a variable of this name: did you mean %s%s?", name, variables, near))
		}
	}
	return notes
}

// reading notes in c which variables the tables are read from.
func (c *Config) reading(env func(string) string) func(string) string {
	c.read = map[string]bool{}
	return func(name string) string {
		if word, ours := strings.CutPrefix(name, variables); ours {
			c.read[word] = true
		}
		return env(name)
	}
}
