package forwarded

import (
	"net/netip"
	"strings"
)

// Said is what trusted proxies say of a request.
type Said struct {
	Client      netip.Addr
	Host, Proto string // that the client has asked for, by Forwarded; "" = not said
}

// Read returns what is said of a request that came from peer, a trusted proxy.
// header returns all lines of a name in lower case.
//
// Forwarded (RFC 7239) counts where neither X-Forwarded-For nor X-Real-IP is: a
// proxy that sets one of these passes on what its client has written into the
// others, and most proxies do not know Forwarded.
func (p Proxies) Read(peer netip.Addr, header func(lower string) []string) Said {
	hops, real := header("x-forwarded-for"), header("x-real-ip")
	if len(hops) > 0 || len(real) > 0 {
		return Said{Client: p.Client(peer, hops, real)}
	}
	return p.standard(peer, header("forwarded"))
}

// standard goes through Forwarded as Client does through X-Forwarded-For. Each
// element on that way is a trusted proxy's, so the left-most of them says what the
// client has asked for.
func (p Proxies) standard(peer netip.Addr, lines []string) Said {
	s := Said{Client: peer}
	for i := len(lines) - 1; i >= 0; i-- {
		for list, more := lines[i], true; more; {
			var text string
			if text, list, more = cutElement(list); text == "" {
				continue
			}
			e, ok := parseElement(text)
			if !ok {
				return s
			}
			if e.host != "" {
				s.Host = e.host
			}
			if e.proto != "" {
				s.Proto = strings.ToLower(e.proto)
			}
			a := parseHop(e.node)
			if !a.IsValid() { // "unknown", a name that hides it, or none
				return s
			}
			if s.Client = a; !p.trust(a) {
				return s
			}
		}
	}
	return s
}

// cutElement cuts off the last element of a list. It reads from the right, where
// the nearest proxy has written, so that a quote which a client has left open
// hides nothing of that.
func cutElement(list string) (last, rest string, more bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch list[i] {
		case '"':
			if bare := strings.TrimRight(list[:i], `\`); (i-len(bare))%2 == 0 {
				quoted = !quoted
			}
		case ',':
			if !quoted {
				return strings.TrimSpace(list[i+1:]), list[:i], true
			}
		}
	}
	return strings.TrimSpace(list), "", false
}

// element is what one proxy says. Its parameter "by" is of no use here.
type element struct{ node, host, proto string }

// parseElement reads pairs of a name and a value, which may be quoted. None may
// stand there twice.
func parseElement(text string) (e element, ok bool) {
	ok = true
	for more := true; more; {
		var name, value string
		if empty, after, is := strings.Cut(text, ";"); strings.TrimSpace(empty) == "" {
			text, more = after, is
			continue
		}
		if name, value, text, more, ok = cutPair(text); !ok {
			return element{}, false
		}
		var to *string
		switch strings.ToLower(name) {
		case "for":
			to = &e.node
		case "host":
			to = &e.host
		case "proto":
			to = &e.proto
		default:
			continue
		}
		if *to != "" || value == "" {
			return element{}, false
		}
		*to = value
	}
	return e, true
}

// cutPair cuts off the first pair. An address with a colon should be quoted and often is
// not; it is taken either way.
func cutPair(text string) (name, value, rest string, more, ok bool) {
	name, text, ok = strings.Cut(text, "=")
	if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, "\";, \t") {
		return "", "", "", false, false
	}
	if quoted, is := strings.CutPrefix(strings.TrimSpace(text), `"`); is {
		if value, text, ok = unquote(quoted); !ok {
			return "", "", "", false, false
		}
		before, after, more := strings.Cut(text, ";")
		return name, value, after, more, strings.TrimSpace(before) == ""
	}
	value, rest, more = strings.Cut(text, ";")
	value = strings.TrimSpace(value)
	return name, value, rest, more, !strings.ContainsAny(value, "\"\\ \t")
}

// unquote reads up to the closing quote.
func unquote(text string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return "", "", false
			}
		}
		b.WriteByte(text[i])
	}
	return "", "", false
}
