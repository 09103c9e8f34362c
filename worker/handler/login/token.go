package login

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode"
	"unicode/utf8"
)

// Claims is the content of a token. exp is required; when it comes, the client
// is closed.
type Claims struct {
	Subject   string   // sub: user id; none = only the channels
	Channels  []string // channels: to join
	Expires   int64    // exp, Unix seconds, rounded up
	NotBefore int64    // nbf, rounded down; 0 = none
}

// UnmarshalJSON implements json.Unmarshaler. Names are taken as they are written,
// not in any case, and no claim as another type than its own.
func (c *Claims) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	for name, into := range map[string]any{"sub": (*subject)(&c.Subject), "channels": &c.Channels} {
		if raw, ok := fields[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return fmt.Errorf("claim %s: %w", name, err)
			}
		}
	}
	exp, err := date(fields["exp"])
	if err != nil || exp == 0 {
		return fmt.Errorf("claim exp: %w", cmp.Or(err, errDate))
	}
	nbf, err := date(fields["nbf"])
	if err != nil {
		return fmt.Errorf("claim nbf: %w", err)
	}
	c.Expires, c.NotBefore = int64(math.Ceil(exp)), int64(math.Floor(nbf))
	return nil
}

var errDate = errors.New("must be a number of seconds since 1970")

// maxDate is in the year 11000 or so: what is later is no date.
const maxDate = 1 << 38

// date reads a NumericDate (RFC 7519, section 2); none is 0.
func date(raw json.RawMessage) (t float64, err error) {
	if raw == nil {
		return 0, nil
	}
	if raw[0] == '"' || json.Unmarshal(raw, &t) != nil || string(raw) == "null" || t < 0 || t > maxDate {
		return 0, errDate
	}
	return t, nil
}

// subject is a user id: a string or, as back ends with numeric keys write it, a
// whole number.
type subject string

// UnmarshalJSON implements json.Unmarshaler.
func (s *subject) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' && !bytes.ContainsAny(b, ".eE") {
		var n json.Number
		err := json.Unmarshal(b, &n)
		*s = subject(n)
		return err
	}
	return json.Unmarshal(b, (*string)(s))
}

// Bounds of what a token may name; the HTTP API has the same for names.
const (
	maxChannels = 100
	maxName     = 200 // bytes
)

// verify reads a token into claims, or says why it is not good now.
func (d *Door) verify(raw string, claims *Claims, now time.Time) error {
	if !d.o.Any() {
		return errors.New("this route takes no tokens")
	}
	d.keys.Tend()
	_, signed, err := d.keys.Verify(raw)
	if err == nil {
		err = json.Unmarshal(signed, claims)
	}
	if err != nil {
		return err
	}
	switch {
	case claims.Expires <= now.Unix():
		return RefusedExpired
	case claims.NotBefore > now.Add(d.leeway).Unix():
		return RefusedEarly
	}
	return claims.Check()
}

// Check says why no door lets in who these claims name.
func (c *Claims) Check() error {
	if c.Subject != "" {
		if err := checkName(c.Subject); err != nil {
			return fmt.Errorf("claim sub: %w", err)
		}
	}
	if err := checkNames(c.Channels); err != nil {
		return fmt.Errorf("claim channels: %w", err)
	}
	return nil
}

// refusalOf returns what is wrong with a token.
func refusalOf(err error) Refusal {
	var r Refusal
	if errors.As(err, &r) {
		return r
	}
	return RefusedClaims
}

func checkNames(channels []string) error {
	if len(channels) > maxChannels {
		return fmt.Errorf("more than %d channels", maxChannels)
	}
	for _, name := range channels {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("a name has 1 to %d bytes", maxName)
	case !utf8.ValidString(name):
		return errors.New("a name is not UTF-8")
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return errors.New("a name has a control character")
		}
	}
	return nil
}

// reason tells a client no more than it can know.
func reason(err error) string {
	switch {
	case errors.Is(err, RefusedExpired):
		return "expired"
	case errors.Is(err, RefusedEarly):
		return "not valid yet"
	}
	return "invalid"
}
