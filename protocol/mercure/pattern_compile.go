package mercure

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
)

// options of a component, in the words of the standard.
type options struct {
	delimiter, prefix string
	canonical         func(string) (string, error) // of what is written as it is
	whole             func(string) (string, error) // of a component that is nothing else; nil = canonical
}

func optionsOf(component int, scheme string) options {
	special := scheme == "" || isSpecial(scheme)
	escaped := func(set string) func(string) (string, error) {
		return func(s string) (string, error) { return escape(s, set), nil }
	}
	switch component {
	case inProtocol:
		return options{canonical: schemeText}
	case inHost:
		return hostOptions(special)
	case inPort:
		return options{canonical: portText, whole: func(s string) (string, error) { return parsePort(s, scheme) }}
	case inPath:
		if !special {
			return options{canonical: escaped(controlSet)}
		}
		return options{delimiter: "/", prefix: "/", canonical: escaped(pathSet)}
	case inQuery:
		return options{canonical: escaped(querySetOf(special))}
	case inHash:
		return options{canonical: escaped(fragmentSet)}
	}
	return options{canonical: escaped(userSet)} // user and password
}

// hostOptions are those of a host. What stands beside a name or a wildcard is a
// piece of one: it is no IP number yet.
func hostOptions(special bool) options {
	whole := func(s string) (string, error) {
		if s == "" {
			return s, nil
		}
		return parseHost(s, special)
	}
	return options{delimiter: ".", whole: whole, canonical: func(s string) (string, error) {
		switch {
		case strings.Trim(s, "0123456789abcdefABCDEF:.[]") == "":
			return strings.ToLower(s), nil
		case special:
			return domainText(unescape(s))
		}
		return whole(s)
	}}
}

func schemeText(s string) (string, error) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return "", errURL
		}
	}
	return strings.ToLower(s), nil
}

func portText(s string) (string, error) {
	if strings.Trim(s, "0123456789") != "" {
		return "", errURL
	}
	return s, nil
}

// compile makes a component of its tokens, and tells what it costs.
func compile(tokens []token, o options) (component, int, error) {
	if len(tokens) == 1 && tokens[0].kind == tokenAsterisk {
		return component{any: true}, 0, nil
	}
	w := writer{options: o, names: map[string]bool{}, tokens: tokens}
	if err := w.run(); err != nil {
		return component{}, 0, err
	}
	if w.plain {
		return component{literal: w.text}, 0, nil
	}
	return program("^(?:" + w.exp.String() + ")$")
}

// program compiles a regular expression within bounds.
func program(exp string) (component, int, error) {
	parsed, err := syntax.Parse(exp, syntax.Perl)
	if err != nil {
		return component{}, 0, fmt.Errorf("%w: a regular expression in it", errPattern)
	}
	cost := size(parsed)
	if cost > MaxProgram {
		return component{}, 0, errProgram
	}
	compiled, err := regexp.Compile(exp)
	if err != nil {
		return component{}, 0, fmt.Errorf("%w: a regular expression in it", errPattern)
	}
	return component{exp: compiled}, cost, nil
}

// size estimates from above the instructions of a regular expression before they
// are made: a few bytes of it can stand for a million.
func size(r *syntax.Regexp) int {
	n := 2 + len(r.Rune)/2
	for _, sub := range r.Sub {
		if n += size(sub); n > MaxProgram {
			return n
		}
	}
	if r.Op == syntax.OpLiteral {
		n = 1 + len(r.Rune)
	}
	if r.Op == syntax.OpRepeat {
		n *= max(r.Min, r.Max, 1) + 1
	}
	return n
}

// writer writes the regular expression of a component.
type writer struct {
	options
	tokens []token
	at     int
	names  map[string]bool
	fixed  strings.Builder // waits to be written
	exp    strings.Builder
	plain  bool   // all is fixed
	text   string // then: what
}

func (w *writer) run() error {
	w.plain = true
	for w.at < len(w.tokens) {
		switch t := w.tokens[w.at]; t.kind {
		case tokenChar, tokenEscaped:
			w.at++
			if t.text == w.prefix && w.prefix != "" && t.kind == tokenChar && w.at < len(w.tokens) && isGroup(w.tokens[w.at].kind) {
				group := w.tokens[w.at]
				w.at++
				if err := w.group(t.text, group, ""); err != nil {
					return err
				}
				continue
			}
			w.fixed.WriteString(t.text)
		case tokenName, tokenRegexp, tokenAsterisk:
			w.at++
			if err := w.group("", t, ""); err != nil {
				return err
			}
		case tokenOpen:
			w.at++
			if err := w.braces(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %q stands where nothing can be repeated", errPattern, t.text)
		}
	}
	if !w.plain {
		return w.flush()
	}
	if w.whole == nil {
		w.whole = w.canonical
	}
	var err error
	if w.text, err = w.whole(w.fixed.String()); err != nil {
		return fmt.Errorf("%w: %.40q", errPattern, w.fixed.String())
	}
	return nil
}

func isGroup(kind byte) bool {
	return kind == tokenName || kind == tokenRegexp || kind == tokenAsterisk
}

// flush writes the fixed text that waits.
func (w *writer) flush() error {
	quoted, err := w.quote(w.fixed.String())
	w.exp.WriteString(quoted)
	w.fixed.Reset()
	return err
}

// quote makes a regular expression of a fixed text.
func (w *writer) quote(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	text, err := w.canonical(s)
	if err != nil {
		return "", fmt.Errorf("%w: %.40q", errPattern, s)
	}
	return regexp.QuoteMeta(text), nil
}

// modifier takes the ?, + or * that follows a group.
func (w *writer) modifier() string {
	if w.at < len(w.tokens) {
		if t := w.tokens[w.at]; t.kind == tokenModifier || t.kind == tokenAsterisk {
			w.at++
			return t.text
		}
	}
	return ""
}

// braces reads what follows a {.
func (w *writer) braces() error {
	prefix, suffix := "", ""
	var inner token
	into := &prefix
	for ; w.at < len(w.tokens) && w.tokens[w.at].kind != tokenClose; w.at++ {
		switch t := w.tokens[w.at]; {
		case t.kind == tokenChar || t.kind == tokenEscaped:
			*into += t.text
		case isGroup(t.kind) && inner.kind == 0:
			inner, into = t, &suffix
		default:
			return fmt.Errorf("%w: %q between braces", errPattern, t.text)
		}
	}
	if w.at == len(w.tokens) {
		return fmt.Errorf("%w: { without }", errPattern)
	}
	w.at++
	return w.group(prefix, inner, suffix)
}

// group writes a group with what stands around it, as often as its modifier says.
func (w *writer) group(prefix string, inner token, suffix string) error {
	exp := ""
	switch inner.kind {
	case tokenName:
		exp = w.segment()
	case tokenRegexp:
		exp = inner.text
	case tokenAsterisk:
		exp = ".*"
	}
	if inner.name != "" && w.names[inner.name] {
		return fmt.Errorf("%w: the name %q stands twice", errPattern, inner.name)
	}
	w.names[inner.name] = true
	modifier := w.modifier()
	if inner.kind == 0 && modifier == "" {
		w.fixed.WriteString(prefix)
		return nil
	}
	w.plain = false
	before, err := w.quote(prefix)
	after, errAfter := w.quote(suffix)
	if err = errors.Join(w.flush(), err, errAfter); err != nil {
		return err
	}
	if modifier == "+" || modifier == "*" {
		w.exp.WriteString("(?:" + before + "(?:" + exp + ")(?:" + after + before + "(?:" + exp + "))*" + after + ")")
		if modifier == "*" {
			w.exp.WriteByte('?')
		}
		return nil
	}
	w.exp.WriteString("(?:" + before + "(?:" + exp + ")" + after + ")" + modifier)
	return nil
}

// segment is what a name stands for.
func (w *writer) segment() string {
	if w.delimiter == "" {
		return ".+"
	}
	return "[^" + regexp.QuoteMeta(w.delimiter) + "]+"
}

func isNameRune(r rune, first bool) bool {
	return unicode.IsLetter(r) || !first && (unicode.IsDigit(r) || unicode.Is(unicode.Mn, r))
}
