package mercure

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// parseTemplate reads a URI template (RFC 6570), which earlier revisions had as
// matchers: it matches what it could be expanded to.
func parseTemplate(s string) (component, int, error) {
	var exp strings.Builder
	exp.WriteString("^(?:")
	for s != "" {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			open = len(s)
		}
		if strings.Contains(s[:open], "}") {
			return component{}, 0, errTemplate
		}
		exp.WriteString(regexp.QuoteMeta(s[:open]))
		if open == len(s) {
			break
		}
		end := strings.IndexByte(s, '}')
		if end < open {
			return component{}, 0, errTemplate
		}
		part, err := expression(s[open+1 : end])
		if err != nil {
			return component{}, 0, err
		}
		exp.WriteString(part)
		s = s[end+1:]
	}
	exp.WriteString(")$")
	c, cost, err := program(exp.String())
	if err != nil {
		return component{}, 0, fmt.Errorf("is too complex a URI template: %w", err)
	}
	return c, cost, nil
}

var errTemplate = errors.New("is no URI template")

const (
	inValue    = `(?:[A-Za-z0-9\-._~,]|%[0-9A-Fa-f]{2})`
	inReserved = `(?:[A-Za-z0-9\-._~,:/?#\[\]@!$&'()*+;=]|%[0-9A-Fa-f]{2})`
	inPair     = `(?:[A-Za-z0-9\-._~,=]|%[0-9A-Fa-f]{2})`
)

// expression returns what the inside of {…} can be expanded to.
func expression(s string) (string, error) {
	if s == "" {
		return "", errTemplate
	}
	operator := s[0]
	if strings.IndexByte("+#./;?&", operator) >= 0 {
		s = s[1:]
	} else {
		operator = 0
	}
	for _, name := range strings.Split(s, ",") {
		if !isVariable(name) {
			return "", errTemplate
		}
	}
	switch operator {
	case '+':
		return inReserved + "*", nil
	case '#':
		return "(?:#" + inReserved + "*)?", nil
	case '.':
		return `(?:\.` + inValue + "*)*", nil
	case '/':
		return "(?:/" + inValue + "*)*", nil
	case ';':
		return "(?:;" + inPair + "*)*", nil
	case '?':
		return `(?:\?` + inPair + "*(?:&" + inPair + "*)*)?", nil
	case '&':
		return "(?:&" + inPair + "*)*", nil
	}
	return inValue + "*", nil
}

// isVariable judges the name of a variable, with its modifier.
func isVariable(s string) bool {
	s = strings.TrimSuffix(s, "*")
	if name, length, ok := strings.Cut(s, ":"); ok {
		if length == "" || len(length) > 4 || strings.Trim(length, "0123456789") != "" {
			return false
		}
		s = name
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '_' && c != '.' && c != '%' {
			return false
		}
	}
	return s != ""
}
