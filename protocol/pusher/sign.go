package pusher

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Sign returns the HMAC-SHA256 of text in hex.
func Sign(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify reports, in constant time, whether signature is that of text.
func Verify(secret, text, signature string) bool {
	return subtle.ConstantTimeCompare([]byte(Sign(secret, text)), []byte(signature)) == 1
}

// VerifyAuth reports whether auth is "key:signature" of text.
func VerifyAuth(key, secret, text, auth string) bool {
	given, signature, _ := strings.Cut(auth, ":")
	ok := Verify(secret, text, signature)
	return subtle.ConstantTimeCompare([]byte(key), []byte(given)) == 1 && ok
}

// ChannelText is what a back end signs to let a connection into a channel. data
// is the channel_data, exactly as received; "" = none. Server SDKs sign it for
// channels of every kind, though only presence channels have a use for it. No
// channel's name has a ":" (ValidChannel), so the two forms cannot be confused.
func ChannelText(socketID, channel, data string) string {
	if data == "" {
		return socketID + ":" + channel
	}
	return socketID + ":" + channel + ":" + data
}

// UserText is what a back end signs to say who a connection's user is.
func UserText(socketID, userData string) string { return socketID + "::user::" + userData }

// Query is the query of an API request: names in lower case, the values of a
// list joined by commas, nothing escaped.
type Query map[string]string

// maxParameters bounds those of one query.
const maxParameters = 100

var (
	errParameters = fmt.Errorf("it has more than %d parameters", maxParameters)
	errEscape     = errors.New("a % is not followed by two hex digits")
)

// ParseQuery reads a raw query. Lists may be written as a=1&a=2, a[]=1&a[]=2 or
// a[0]=1&a[1]=2.
func ParseQuery(raw string) (Query, error) {
	if strings.Count(raw, "&") >= maxParameters {
		return nil, errParameters
	}
	lists := map[string][]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(k)
		if err != nil {
			return nil, errEscape
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, errEscape
		}
		name, _, _ = strings.Cut(strings.ToLower(name), "[")
		lists[name] = append(lists[name], value)
	}
	q := make(Query, len(lists))
	for name, values := range lists {
		q[name] = strings.Join(values, ",")
	}
	return q, nil
}

// RequestText is what a back end signs for a request of the HTTP API. path has
// no prefix before "/apps/".
func RequestText(method, path string, q Query) string {
	names := make([]string, 0, len(q))
	for name := range q {
		if name != "auth_signature" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(method + "\n" + path + "\n")
	for i, name := range names {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name + "=" + q[name])
	}
	return b.String()
}
