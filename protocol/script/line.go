package script

import (
	"fmt"
	"strings"
)

// Split cuts text at blanks. A part in '…' or "…" is taken as it is.
func Split(text string) (out []string, err error) {
	var word strings.Builder
	quote, begun := rune(0), false
	flush := func() {
		if begun {
			out = append(out, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range text {
		switch {
		case r == quote && quote != 0:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			flush()
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	flush()
	if quote != 0 {
		err = fmt.Errorf("script: %q: a quote is not closed", text)
	}
	return out, err
}

// Line makes a text of words, which Split cuts into the same ones.
func Line(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; w == "" || strings.ContainsAny(w, " \t\n'\"") {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'"'"'`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
