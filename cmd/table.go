package cmd

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// table is text in aligned columns. A heading that begins with ">" makes its
// column right-aligned.
type table struct {
	heads []string
	rows  [][]string
	paint func(cell string) string // of the column STATE; nil = none
}

func newTable(heads ...string) *table { return &table{heads: heads} }

// add takes a row. What stands in its cells was said by others.
func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// gap stands between two columns.
const gap = 2

// widths returns the width of each column in characters.
func (t *table) widths() []int {
	w := make([]int, len(t.heads))
	for i, h := range t.heads {
		w[i] = utf8.RuneCountInString(strings.TrimPrefix(h, ">"))
	}
	for _, row := range t.rows {
		for i, cell := range row {
			w[i] = max(w[i], utf8.RuneCountInString(cell))
		}
	}
	return w
}

// fit drops columns until the table is at most limit characters wide, those
// named first in expendable first. It returns how many.
func (t *table) fit(limit int, expendable ...string) (hidden int) {
	for _, name := range expendable {
		total := -gap
		for _, w := range t.widths() {
			total += w + gap
		}
		if total <= limit {
			return hidden
		}
		t.drop(name)
		hidden++
	}
	return hidden
}

// tellHidden says what the width of the screen has cost.
func tellHidden(w io.Writer, hidden int) {
	if hidden > 0 {
		fmt.Fprintf(w, "(--wide shows %s)\n", counted(hidden, "more column", "more columns"))
	}
}

func (t *table) drop(name string) {
	for i, h := range t.heads {
		if strings.TrimPrefix(h, ">") != name {
			continue
		}
		t.heads = append(t.heads[:i:i], t.heads[i+1:]...)
		for r, row := range t.rows {
			t.rows[r] = append(row[:i:i], row[i+1:]...)
		}
		return
	}
}

func (t *table) write(w io.Writer) {
	widths := t.widths()
	heads := make([]string, len(t.heads))
	for i, h := range t.heads {
		heads[i] = strings.TrimPrefix(h, ">")
	}
	for n, row := range append([][]string{heads}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if n > 0 && t.paint != nil && t.heads[i] == "STATE" {
				cell = t.paint(cell)
			}
			if strings.HasPrefix(t.heads[i], ">") {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
			line.WriteString(strings.Repeat(" ", gap))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// clean makes a text that others have chosen safe for a terminal.
func clean(s string) string {
	if strings.IndexFunc(s, steers) < 0 {
		return s
	}
	q := fmt.Sprintf("%+q", s)
	return q[1 : len(q)-1]
}

// steers says whether a terminal may do something else with r than show it.
func steers(r rune) bool { return !unicode.IsGraphic(r) || r == utf8.RuneError }

// isC1 is for DEL and the control characters above ASCII.
func isC1(r rune) bool { return r >= 0x7f && r < 0xa0 }

// cleanLines is clean for a text of several lines, which may hold tabs.
func cleanLines(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return steers(r) && r != '\n' && r != '\t' }) < 0 {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}

// cleanJSON escapes what JSON lets through in its strings: DEL and C1. What JSON
// does not let through is no answer of pushd and is escaped too.
func cleanJSON(s string) string {
	bad := func(r rune) bool { return isC1(r) || r < ' ' && r != '\n' && r != '\t' }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if bad(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// bytesText prints a size in at most six characters: "512", "64.0K", "12.3M".
func bytesText(n int64) string {
	if n < 1024 {
		return fmt.Sprint(n)
	}
	v, unit := float64(n)/1024, 0
	for v >= 999.95 && unit < 4 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f%c", v, "KMGTP"[unit])
}

// countText prints a count in at most six characters: "12345", "1.2M".
func countText(n uint64) string {
	if n < 100_000 {
		return fmt.Sprint(n)
	}
	v, unit := float64(n)/1000, 0
	for v >= 999.95 && unit < 4 {
		v /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f%c", v, "kMGTP"[unit])
}

// ageText prints a time span in at most six characters: "7s", "12m", "3h05m",
// "4d07h".
func ageText(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 100*24*time.Hour:
		return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
