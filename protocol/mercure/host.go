package mercure

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// domains turns international host names into ASCII, as the URL standard asks for:
// UTS #46 without transitional processing, and without the rules of registries.
var domains = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
	idna.VerifyDNSLength(false),
	idna.BidiRule(),
)

// parseHost reads a host and writes it in the one form that counts. Hosts of special
// schemes are domains or IP numbers, those of others are what they are.
func parseHost(s string, special bool) (string, error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return "", errURL
		}
		return parseIPv6(inner)
	}
	if !special {
		if strings.ContainsAny(s, forbidden) {
			return "", errURL
		}
		return escape(s, controlSet), nil
	}
	name, err := domainText(unescape(s))
	if err == nil && endsInNumber(name) {
		return parseIPv4(name)
	}
	return name, err
}

// parsePort reads a port; that of the scheme by itself is none.
func parsePort(s, scheme string) (string, error) {
	if s == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return "", errURL
	}
	if port := strconv.FormatUint(n, 10); port != specials[scheme] {
		return port, nil
	}
	return "", nil
}

// maxInternational is how many bytes a domain may have, as it is written, that has to
// be translated: that takes a time which grows with the square. No name in the DNS
// is longer.
const maxInternational = 255

// forbidden are the characters that no host has.
const forbidden = " #/:<>?@[\\]^|\x00\t\n\r"

// domainText writes a domain, or a piece of one, in ASCII.
func domainText(s string) (string, error) {
	name := strings.ToLower(s)
	if !plainDomain(name) {
		var err error
		if len(s) > maxInternational {
			return "", errLong
		}
		name, err = domains.ToASCII(s)
		if err != nil || name == "" || !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
			return "", errURL
		}
	}
	if strings.IndexFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '%' }) >= 0 || strings.ContainsAny(name, forbidden) {
		return "", errURL
	}
	return name, nil
}

// plainDomain reports whether a name has nothing to translate or to check.
func plainDomain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] > 0x7f {
			return false
		}
	}
	return !strings.HasPrefix(s, "xn--") && !strings.Contains(s, ".xn--")
}

// endsInNumber reports whether a host can only be an IPv4 number.
func endsInNumber(s string) bool {
	s = strings.TrimSuffix(s, ".")
	last := s[strings.LastIndexByte(s, '.')+1:]
	if last != "" && strings.Trim(last, "0123456789") == "" {
		return true
	}
	_, ok := parseNumber(last)
	return ok
}

// parseNumber reads a decimal, an octal or a hexadecimal number.
func parseNumber(s string) (n uint64, ok bool) {
	base := 10
	switch {
	case s == "":
		return 0, false
	case strings.HasPrefix(s, "0x"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	if s == "" {
		return 0, true // 0x
	}
	if s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}

// parseIPv4 reads up to four numbers, of which the last has the bytes that are left.
func parseIPv4(s string) (string, error) {
	parts := strings.Split(strings.TrimSuffix(s, "."), ".")
	if len(parts) > 4 {
		return "", errURL
	}
	ip := uint64(0)
	for i, part := range parts {
		n, ok := parseNumber(part)
		last := i == len(parts)-1
		if !ok || !last && n > 255 || last && n >= 1<<(8*(5-len(parts))) {
			return "", errURL
		}
		if !last {
			n <<= 8 * (3 - i)
		}
		ip |= n
	}
	return netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}).String(), nil
}

// parseIPv6 reads what stands between brackets.
func parseIPv6(s string) (string, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", errURL
	}
	if ip.Is4In6() { // which the standard writes as all others
		b := ip.As16()
		hex := func(hi, lo byte) string { return strconv.FormatUint(uint64(hi)<<8|uint64(lo), 16) }
		return "[::ffff:" + hex(b[12], b[13]) + ":" + hex(b[14], b[15]) + "]", nil
	}
	return "[" + ip.String() + "]", nil
}
