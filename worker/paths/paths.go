// Package paths finds what a path of a request belongs to: an exact path, a pattern
// with parameters, or a prefix. A Map is filled when a process starts and read on its
// loop, once for each request or handshake; nothing is allocated then.
package paths

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Pattern is an exact path ("/chat"), one with parameters ("/app/{key}"), or a prefix
// ("/static/*").
type Pattern struct {
	text  string
	parts []string // with parameters: split at the slashes; else nil
	kind  kind
}

type kind uint8

const (
	exact kind = iota
	parameters
	prefix
)

// Parse reads a pattern.
func Parse(text string) (Pattern, error) {
	p := Pattern{text: text}
	if !strings.HasPrefix(text, "/") {
		return p, errors.New("a pattern begins with /")
	}
	switch star, brace := strings.Index(text, "*"), strings.ContainsAny(text, "{}"); {
	case star >= 0 && (brace || star != len(text)-1 || !strings.HasSuffix(text, "/*")):
		return p, errors.New("* stands only at the end, after a /, and not beside parameters")
	case star >= 0:
		p.kind = prefix
	case brace:
		p.kind, p.parts = parameters, strings.Split(text, "/")
		for _, part := range p.parts {
			if inner, ok := parameter(part); strings.ContainsAny(part, "{}") && (!ok || inner == "" || strings.ContainsAny(inner, "{}")) {
				return p, fmt.Errorf("%q is no parameter: write {name} as a whole part of the path", part)
			}
		}
	}
	return p, nil
}

// Exact returns the path that the pattern is, "" if it is for several.
func (p *Pattern) Exact() string {
	if p.kind != exact {
		return ""
	}
	return p.text
}

// parameter returns the name in "{name}".
func parameter(part string) (string, bool) {
	if strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}") {
		return part[1 : len(part)-1], true
	}
	return "", false
}

// match reports whether path is one of the pattern's, which has parameters.
func (p *Pattern) match(path string) bool {
	for i, part := range p.parts {
		have, rest, more := strings.Cut(path, "/")
		if more == (i == len(p.parts)-1) {
			return false
		}
		path = rest
		if _, ok := parameter(part); ok && have == "" || !ok && have != part {
			return false
		}
	}
	return true
}

// equal reports whether p and q, of which q need not have parameters, are for the
// same paths: they differ in the names of parameters alone.
func (p *Pattern) equal(q *Pattern) bool {
	return slices.EqualFunc(p.parts, q.parts, func(a, b string) bool {
		_, one := parameter(a)
		_, other := parameter(b)
		return one && other || a == b
	})
}

// Param returns a parameter of a path that matches, "" if there is none of that
// name.
func (p *Pattern) Param(path, name string) string {
	for _, part := range p.parts {
		have, rest, _ := strings.Cut(path, "/")
		if inner, ok := parameter(part); ok && inner == name {
			return have
		}
		path = rest
	}
	return ""
}
