package mercure

import (
	"errors"
	"strings"
)

// address is a URL in the parts that a URL pattern looks at, parsed and written
// as the URL standard does it.
type address struct {
	scheme         string // without the colon
	user, password string
	host, port     string
	path           string
	query, hash    string // without ? and #
	opaque         bool   // the path is no list of segments: urn:…, data:…
}

var errURL = errors.New("cannot be read as a URL")

// specials are the schemes whose URLs have a host, with their ports.
var specials = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21", "file": ""}

// resolve reads s as a reference against base.
func resolve(s string, base *address) (a address, err error) {
	s = strings.Trim(s, " ")
	s, a.hash, _ = strings.Cut(s, "#")
	a.hash = escape(a.hash, fragmentSet)
	scheme, rest, ok := cutScheme(s)
	special := ok && isSpecial(scheme)
	switch {
	case ok && special && scheme == base.scheme && !startsAuthority(rest, true):
		a.scheme = scheme // "https:foo" is relative
		return a, a.relative(rest, base)
	case ok:
		a.scheme = scheme
		return a, a.absolute(rest, special)
	default:
		a.scheme = base.scheme
		return a, a.relative(s, base)
	}
}

func isSpecial(scheme string) bool { _, ok := specials[scheme]; return ok }

// cutScheme splits "scheme:rest".
func cutScheme(s string) (scheme, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ':' && i > 0:
			return strings.ToLower(s[:i]), s[i+1:], true
		case isLetter(c), i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.'):
		default:
			return "", "", false
		}
	}
	return "", "", false
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func startsAuthority(s string, special bool) bool {
	return len(s) > 1 && isSlash(s[0], special) && isSlash(s[1], special)
}

func isSlash(c byte, special bool) bool { return c == '/' || special && c == '\\' }

// absolute reads what follows "scheme:".
func (a *address) absolute(rest string, special bool) error {
	switch {
	case special:
		for rest != "" && isSlash(rest[0], true) {
			rest = rest[1:]
		}
		return a.authority(rest, true)
	case startsAuthority(rest, false):
		return a.authority(rest[2:], false)
	case strings.HasPrefix(rest, "/"):
		a.pathAndQuery(rest, false)
		return nil
	}
	a.opaque = true
	path, query, _ := strings.Cut(rest, "?")
	a.path, a.query = escape(path, controlSet), escape(query, querySet)
	return nil
}

// relative reads what has no scheme.
func (a *address) relative(s string, base *address) error {
	special := isSpecial(a.scheme)
	if startsAuthority(s, special) {
		return a.authority(s[2:], special)
	}
	if base.opaque {
		return errURL
	}
	a.user, a.password, a.host, a.port = base.user, base.password, base.host, base.port
	switch {
	case s == "":
		a.path, a.query = base.path, base.query
	case s[0] == '?':
		a.path, a.query = base.path, escape(s[1:], querySetOf(special))
	case isSlash(s[0], special):
		a.pathAndQuery(s, special)
	default:
		a.pathAndQuery(base.path[:strings.LastIndexByte(base.path, '/')+1]+s, special)
	}
	return nil
}

// authority reads user, host, port and what follows.
func (a *address) authority(s string, special bool) error {
	end := len(s)
	for i := 0; i < len(s); i++ {
		if isSlash(s[i], special) || s[i] == '?' {
			end = i
			break
		}
	}
	host := s[:end]
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		a.user, a.password, _ = strings.Cut(host[:at], ":")
		a.user, a.password = escape(a.user, userSet), escape(a.password, userSet)
		host = host[at+1:]
	}
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && !strings.Contains(host[colon:], "]") {
		var err error
		if a.port, err = parsePort(host[colon+1:], a.scheme); err != nil {
			return err
		}
		host = host[:colon]
	}
	if special && host == "" && a.scheme != "file" {
		return errURL
	}
	var err error
	if a.host, err = parseHost(host, special); err != nil {
		return err
	}
	a.pathAndQuery(s[end:], special)
	return nil
}

func (a *address) pathAndQuery(s string, special bool) {
	path, query, _ := strings.Cut(s, "?")
	a.query = escape(query, querySetOf(special))
	if special {
		path = strings.ReplaceAll(path, "\\", "/")
		if path == "" {
			path = "/"
		}
	}
	a.path = withoutDots(escape(path, pathSet))
}

// withoutDots removes the segments "." and "..", also where they are escaped.
func withoutDots(path string) string {
	if !strings.HasPrefix(path, "/") || !strings.Contains(path, "/.") && !strings.Contains(path, "/%2") {
		return path
	}
	parts := strings.Split(path[1:], "/")
	kept := parts[:0]
	for i, part := range parts {
		last := i == len(parts)-1
		switch strings.ReplaceAll(strings.ToLower(part), "%2e", ".") {
		case ".":
			if last {
				kept = append(kept, "")
			}
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, part)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// The characters that are escaped in the parts of a URL, besides controls and
// what is not ASCII.
const (
	controlSet      = ""
	fragmentSet     = " \"<>`"
	querySet        = " \"#<>"
	specialQuerySet = querySet + "'"
	pathSet         = " \"#<>?^`{}"
	userSet         = pathSet + "/:;=@[\\]|"
)

func querySetOf(special bool) string {
	if special {
		return specialQuerySet
	}
	return querySet
}

const hexDigits = "0123456789ABCDEF"

// escape percent-encodes; an escape that is there stays.
func escape(s, set string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > 0x1f && c < 0x7f && strings.IndexByte(set, c) < 0 {
			if b != nil {
				b = append(b, c)
			}
			continue
		}
		if b == nil {
			b = append(make([]byte, 0, len(s)+8), s[:i]...)
		}
		b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
	}
	if b == nil {
		return s
	}
	return string(b)
}

// unescape decodes what is percent-encoded; what is malformed stays.
func unescape(s string) string { return decode(s, func(byte) bool { return true }) }

func decode(s string, wanted func(byte) bool) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, ok := unhex(s[i+1], s[i+2]); ok && wanted(c) {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(a, b byte) (byte, bool) {
	x, y := strings.IndexByte(hexDigits, upper(a)), strings.IndexByte(hexDigits, upper(b))
	return byte(x<<4 | y&15), x >= 0 && y >= 0
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'f' {
		return c - 0x20
	}
	return c
}

// unreserved are the characters that need no escape anywhere (RFC 3986, 2.3).
func unreserved(c byte) bool {
	return isLetter(c) || isDigit(c) || c == '-' || c == '.' || c == '_' || c == '~'
}
