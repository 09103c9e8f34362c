// Package proxy reads the header by which a proxy that passes bytes through says
// who its client is: the PROXY protocol, versions 1 and 2.
package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxText   = 107     // bytes of a header of version 1, CRLF included
	maxBinary = 2 << 10 // of version 2, its additional fields included
)

// signature begins a header of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// What may be wrong with the bytes.
var (
	ErrHeader = errors.New("no header of the PROXY protocol")
	ErrWrong  = errors.New("a header of the PROXY protocol with a command, an address or a port that is none")
	ErrLong   = errors.New("a header of the PROXY protocol that is longer than the 107 bytes of version 1 or 2 KiB of version 2")
)

// Parse reads the header at the beginning of b. n is its length, 0 when more
// bytes are needed; it looks at no more than the 107 bytes of version 1, or the
// fixed part of version 2. from is the client, not valid when the proxy speaks for
// itself or does not know.
func Parse(b []byte) (from netip.AddrPort, n int, err error) {
	switch {
	case begins(b, signature):
		return parseBinary(b)
	case begins(b, "PROXY "):
		return parseText(b)
	}
	return from, 0, ErrHeader
}

// begins reports whether b begins with s, as far as it goes.
func begins(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// parseText reads "PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\n".
func parseText(b []byte) (from netip.AddrPort, n int, err error) {
	line, _, found := bytes.Cut(b[:min(len(b), maxText)], []byte("\r\n"))
	switch {
	case !found && len(b) >= maxText:
		return from, 0, ErrLong
	case !found:
		return from, 0, nil
	}
	n = len(line) + len("\r\n")
	fields := strings.Split(string(line), " ")
	if fields[1] == "UNKNOWN" {
		return from, n, nil
	}
	if len(fields) != 6 {
		return from, 0, ErrWrong
	}
	for i := 3; i >= 2; i-- { // the destination has to be right as well
		ip, err := netip.ParseAddr(fields[i])
		port, ok := parsePort(fields[i+2])
		if err != nil || !ok || ip.Zone() != "" || fields[1] != "TCP4" && fields[1] != "TCP6" || ip.Is4() != (fields[1] == "TCP4") {
			return netip.AddrPort{}, 0, ErrWrong
		}
		from = netip.AddrPortFrom(ip.Unmap(), port)
	}
	return from, n, nil
}

func parsePort(s string) (port uint16, ok bool) {
	p, err := strconv.ParseUint(s, 10, 16)
	return uint16(p), err == nil && strconv.FormatUint(p, 10) == s
}

// parseBinary reads a header of version 2.
func parseBinary(b []byte) (from netip.AddrPort, n int, err error) {
	const fixed = len(signature) + 4
	if len(b) < fixed {
		return from, 0, nil
	}
	command, family := b[len(signature)], b[len(signature)+1]
	size := int(binary.BigEndian.Uint16(b[fixed-2:]))
	n = fixed + size
	switch {
	case command != 0x20 && command != 0x21:
		return from, 0, ErrWrong
	case n > maxBinary:
		return from, 0, ErrLong
	case len(b) < n:
		return from, 0, nil
	case command == 0x20: // the proxy itself, as for a health check
		return from, n, nil
	}
	a := b[fixed:n]
	switch {
	case family == 0x11 && size >= 12: // TCP over IPv4
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a)), binary.BigEndian.Uint16(a[8:])), n, nil
	case family == 0x21 && size >= 36: // TCP over IPv6
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(a)).Unmap(), binary.BigEndian.Uint16(a[32:])), n, nil
	case family == 0x11 || family == 0x21:
		return from, 0, ErrWrong
	}
	return from, n, nil // a client without an address
}
