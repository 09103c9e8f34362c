package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// notTOML is what to do about a fault that has no words of its own.
const notTOML = `this is not TOML: a text stands in quotes, as in key = "text"`

// faults are our words for what the TOML package says, by how that begins. Its own
// words quote what it has found, which may be a secret that lacks its quotes, and
// what a parser has not understood nobody can know to be none.
var faults = []struct{ begins, says string }{
	{"expected value", `this is no value: a text stands in quotes, as in key = "text"`},
	{"expected a top-level item", `the line goes on behind a value: a text stands in quotes, as in key = "text"`},
	{"strings cannot contain newlines", "a text has no closing quote on its line"},
	{"unexpected EOF", "the file ends within a text, a list or a table: a closing quote or bracket is missing"},
	{"invalid escape", `a \ within "…" begins an escape: write \\, or put the text in '…'`},
	{"expected '.' or '='", "a line is key = value, or a [table]"},
	{"expected a comma", "in a list or table of one line a comma or a closing bracket is missing"},
	{"TOML files cannot contain control characters", "there is a control character in it"},
	{"files cannot contain NULL bytes", "it has zero bytes, as UTF-16 has: save it as UTF-8"},
	{"invalid UTF-8", "it is not UTF-8"},
}

// syntaxError gives a TOML error the form of all others. It names keys, and no
// value.
func syntaxError(file string, err error) error {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return fmt.Errorf("%s: %s", file, notTOML)
	}
	msg := faultOf(pe.Message)
	if pe.LastKey != "" {
		msg += fmt.Sprintf(" (after key %q)", pe.LastKey)
	}
	return fmt.Errorf("%s:%d: %s", file, max(pe.Position.Line, 1), msg)
}

func faultOf(message string) string {
	if strings.HasPrefix(message, "Key '") { // was already defined: all that it quotes is the key
		return "k" + strings.TrimSuffix(message[1:], ".")
	}
	for _, f := range faults {
		if strings.HasPrefix(message, f.begins) {
			return f.says
		}
	}
	return notTOML
}
