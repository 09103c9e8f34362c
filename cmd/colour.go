package cmd

import (
	"os"
	"strings"
)

// screen is what the output goes to.
type screen struct {
	width   int  // characters of a line, 0 = any
	colours bool // states have some
}

// screen looks at where the output goes. Colours are for a terminal that has
// them, unless NO_COLOR is set (no-color.org).
func (c *call) screen() screen {
	return screen{width: c.width(), colours: isTerminal(c.out) && os.Getenv("NO_COLOR") == ""}
}

// colourOf is the number of a state's colour (ECMA-48), "" for none.
var colourOf = map[string]string{
	"ready": "32", "ok": "32",
	"starting": "33", "draining": "33", "full": "33", stateWarn: "33",
	"degraded": "31", "stopped": "31", stateFail: "31",
}

// paint gives a cell that is a state its colour. Spaces around it stay.
func (s screen) paint(cell string) string {
	word := strings.TrimSpace(cell)
	code := colourOf[word]
	if !s.colours || code == "" {
		return cell
	}
	return strings.Replace(cell, word, "\x1b["+code+"m"+word+"\x1b[0m", 1)
}
