package worker

import (
	"errors"
	"fmt"
	"strings"
)

// MinSecret is how many bytes a secret that signs must have at least: 128 bits
// if it is random.
const MinSecret = 16

// ErrPlaceholder is CheckSecret's answer to a text that only stands for a
// secret, as in documentation.
var ErrPlaceholder = errors.New("is a placeholder: put a secret of your own there (`openssl rand -hex 16` makes one)")

// CheckSecret reports why s cannot be a secret of the config: it is a
// placeholder, which everybody knows, or shorter than least bytes. The error
// does not show s.
func CheckSecret(s string, least int) error {
	switch low := strings.ToLower(strings.TrimSpace(s)); {
	case low == "..." || strings.Contains(low, "…"),
		strings.HasPrefix(low, "<") && strings.HasSuffix(low, ">"),
		strings.Trim(low, "x") == "" && len(low) >= 3,
		strings.ReplaceAll(strings.ReplaceAll(low, "-", ""), "_", "") == "changeme":
		return ErrPlaceholder
	case len(s) < least:
		return fmt.Errorf("has %d bytes, needs at least %d (`openssl rand -hex 16` makes a secret)", len(s), least)
	}
	return nil
}
