package http

import (
	"net/http"
	"strings"
)

// Accepts reports whether a client has named a media type, "type/subtype" in
// small letters, among those that it takes (RFC 9110, section 12.5.1). A range
// with "*" names none, and one of the weight 0 is what it does not take.
func Accepts(h http.Header, media string) bool {
	for _, line := range h.Values("Accept") {
		for entry := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(entry, ";")
			if strings.EqualFold(strings.Trim(name, " \t"), media) && !weightless(params) {
				return true
			}
		}
	}
	return false
}

// weightless reports whether the parameters of an entry have the weight 0.
func weightless(params string) bool {
	for param := range strings.SplitSeq(params, ";") {
		name, weight, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.Trim(name, " \t"), "q") {
			whole, decimals, _ := strings.Cut(strings.Trim(weight, " \t"), ".")
			return whole == "0" && strings.Trim(decimals, "0") == ""
		}
	}
	return false
}

// Encoded reports whether a body is compressed or otherwise not what it says.
func Encoded(h http.Header) bool {
	code := strings.Join(h.Values("Content-Encoding"), ",")
	return code != "" && !strings.EqualFold(code, "identity")
}
