package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Claims is the content of a token. exp is required; when it comes, the client
// is closed.
type Claims struct {
	Subject              subject  `json:"sub"`      // user id; none = only the channels
	Channels             []string `json:"channels"` // to join
	jwt.RegisteredClaims          // exp, nbf
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

// verify reads a token into claims, or says why it is not good.
func (h *Handler) verify(raw string, claims *Claims) error {
	if h.opt.Secret == "" {
		return errors.New("this route takes no tokens")
	}
	_, err := h.parser.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return []byte(h.opt.Secret), nil })
	if err != nil {
		return err
	}
	if claims.Subject != "" {
		err = checkName(string(claims.Subject))
	}
	return errors.Join(err, checkNames(claims.Channels))
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
	case errors.Is(err, jwt.ErrTokenExpired):
		return "expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "not valid yet"
	}
	return "invalid"
}
