package mercure

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// pattern is a URL pattern of the URL Pattern standard, without its option
// ignoreCase. Regular expressions in it are those of RE2: what looks ahead or
// back is refused.
type pattern struct {
	components [numComponents]component
	program    int // instructions
}

// component matches one part of a URL. Most are a plain text or match anything.
type component struct {
	any     bool
	literal string
	exp     *regexp.Regexp
}

const (
	inProtocol = iota
	inUser
	inPassword
	inHost
	inPort
	inPath
	inQuery
	inHash
	numComponents
)

// match reports whether the pattern selects a URL.
func (p *pattern) match(a *address) bool {
	parts := [numComponents]string{a.scheme, a.user, a.password, a.host, a.port, a.path, a.query, a.hash}
	for i := range p.components {
		if c := &p.components[i]; !c.any && c.exp == nil && c.literal != parts[i] {
			return false // what costs least decides first
		}
	}
	for i := range p.components {
		if c := &p.components[i]; c.exp != nil && !c.exp.MatchString(parts[i]) {
			return false
		}
	}
	return true
}

var (
	errPattern = errors.New("is no URL pattern")
	errProgram = errors.New("is too complex a pattern")
)

// parsePattern reads a pattern; what it leaves out on the left is base's.
func parsePattern(s string, base *address) (*pattern, error) {
	tokens, err := tokenize(s)
	if err != nil {
		return nil, err
	}
	parts, given := split(tokens)
	p := &pattern{}
	inherit(&parts, &given, base)
	scheme := ""
	for i := range parts {
		if !given[i] {
			p.components[i].any = true
			continue
		}
		o := optionsOf(i, scheme)
		c, cost, err := compile(parts[i], o)
		if err != nil {
			return nil, err
		}
		if p.program += cost; p.program > MaxProgram {
			return nil, errProgram
		}
		p.components[i] = c
		if i == inProtocol && c.exp == nil && !c.any {
			scheme = c.literal
		} else if i == inProtocol {
			scheme = p.anySpecial()
		}
	}
	return p, nil
}

// anySpecial returns a special scheme that the protocol of the pattern matches.
func (p *pattern) anySpecial() string {
	c := &p.components[inProtocol]
	for s := range specials {
		if c.any || c.exp.MatchString(s) {
			return "file" // has no port that could be left out
		}
	}
	return ""
}

// inherit fills what the pattern has left out.
func inherit(parts *[numComponents][]token, given *[numComponents]bool, base *address) {
	set := func(i int, s string) { parts[i], given[i] = literal(s), true }
	if given[inHost] && !given[inPort] {
		set(inPort, "")
	}
	if given[inProtocol] || given[inHost] || given[inPort] {
		return
	}
	set(inProtocol, base.scheme)
	set(inHost, base.host)
	set(inPort, base.port)
	if !given[inPath] {
		set(inPath, base.path)
		if !given[inQuery] {
			set(inQuery, base.query)
		}
		return
	}
	if t := parts[inPath]; !isAbsolute(t) {
		dir := base.path[:strings.LastIndexByte(base.path, '/')+1]
		parts[inPath] = append(literal(dir), t...)
	}
}

// isAbsolute reports whether a path begins with a slash, by itself or in braces.
func isAbsolute(t []token) bool {
	if len(t) > 1 && t[0].kind == tokenOpen {
		t = t[1:]
	}
	return len(t) > 0 && t[0].text == "/"
}

// A token of a pattern.
type token struct {
	kind byte
	text string
	name string // of a regular expression that has one
}

const (
	tokenChar     = 'c'
	tokenEscaped  = '\\'
	tokenName     = ':'
	tokenRegexp   = '('
	tokenOpen     = '{'
	tokenClose    = '}'
	tokenAsterisk = '*'
	tokenModifier = '?' // ? and +; an asterisk may be one, too
)

func literal(s string) []token {
	if s == "" {
		return nil
	}
	return []token{{kind: tokenEscaped, text: s}}
}

func tokenize(s string) (list []token, err error) {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\\':
			if i++; i == len(s) {
				return nil, fmt.Errorf("%w: it ends with a backslash", errPattern)
			}
			n := runeLen(s[i:])
			list = append(list, token{kind: tokenEscaped, text: s[i : i+n]})
			i += n
		case c == ':' && nameLen(s[i+1:]) > 0:
			n := nameLen(s[i+1:])
			list = append(list, token{kind: tokenName, text: s[i+1 : i+1+n], name: s[i+1 : i+1+n]})
			i += 1 + n
		case c == '(':
			n, err := regexpLen(s[i:])
			if err != nil {
				return nil, err
			}
			t := token{kind: tokenRegexp, text: s[i+1 : i+n-1]}
			if last := len(list) - 1; last >= 0 && list[last].kind == tokenName {
				t.name, list = list[last].name, list[:last]
			}
			list = append(list, t)
			i += n
		case c == '{' || c == '}' || c == '*':
			list = append(list, token{kind: c, text: s[i : i+1]})
			i++
		case c == '?' || c == '+':
			list = append(list, token{kind: tokenModifier, text: s[i : i+1]})
			i++
		default:
			n := runeLen(s[i:])
			list = append(list, token{kind: tokenChar, text: s[i : i+n]})
			i += n
		}
	}
	return list, nil
}

func runeLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

func nameLen(s string) int {
	for i, r := range s {
		if r != '_' && r != '$' && !isNameRune(r, i == 0) {
			return i
		}
	}
	return len(s)
}

// regexpLen returns the length of "(…)" at the start of s.
func regexpLen(s string) (int, error) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c > 0x7e || i == 1 && c == '?':
			return 0, fmt.Errorf("%w: a regular expression in it", errPattern)
		case c == '\\':
			i++
		case c == '(':
			if depth++; depth > 1 && !strings.HasPrefix(s[i+1:], "?:") {
				return 0, fmt.Errorf("%w: a regular expression in it has a group that is not (?:…)", errPattern)
			}
		case c == ')':
			if depth--; depth == 0 {
				if i == 1 {
					return 0, fmt.Errorf("%w: an empty regular expression", errPattern)
				}
				return i + 1, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: ( without )", errPattern)
}
