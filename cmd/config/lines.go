package config

import (
	"strconv"
	"strings"
)

// keyLines returns the line of each key of a TOML document, by paths such as
// "api.listen" and "worker[1].routes./chat.handler". The TOML package keeps
// positions to itself, and for arrays of tables only those of the last.
//
// The text must be valid TOML: this scanner only knows enough of it to find
// keys. Of other text it returns something, in linear time.
func keyLines(text string) map[string]int {
	s := &scanner{text: text, line: 1, lines: map[string]int{}, tables: map[string]int{}}
	for s.blank(); s.pos < len(s.text); s.blank() {
		start := s.pos
		if s.peek() == '[' {
			s.header()
		} else {
			s.pair(s.table)
		}
		if s.pos == start {
			s.pos++ // not TOML
		}
	}
	return s.lines
}

type scanner struct {
	text   string
	pos    int
	line   int
	table  string         // path of the table that pairs belong to
	lines  map[string]int // path → line
	tables map[string]int // path of an array of tables → length so far
}

func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) next() {
	if s.peek() == '\n' {
		s.line++
	}
	s.pos++
}

// space skips blanks within a line.
func (s *scanner) space() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.pos++
	}
}

// blank skips white space, line ends and comments.
func (s *scanner) blank() {
	for s.pos < len(s.text) {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.next()
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	if i := strings.IndexByte(s.text[s.pos:], '\n'); i >= 0 {
		s.pos += i
	} else {
		s.pos = len(s.text)
	}
}

// header reads [a.b] or [[a.b]] and makes it the current table.
func (s *scanner) header() {
	line := s.line
	array := strings.HasPrefix(s.text[s.pos:], "[[")
	s.pos++
	if array {
		s.pos++
	}
	path := ""
	for i, parts := 0, s.key(); i < len(parts); i++ {
		path = join(path, parts[i])
		if array && i == len(parts)-1 {
			s.tables[path]++
		}
		s.mark(path, line)
		if n := s.tables[path]; n > 0 {
			path = index(path, n-1)
			s.mark(path, line)
		}
	}
	s.table = path
	for s.peek() == ']' {
		s.pos++
	}
}

// pair reads key = value within the table at path.
func (s *scanner) pair(path string) {
	line := s.line
	for _, part := range s.key() {
		path = join(path, part)
		s.mark(path, line)
	}
	if s.peek() == '=' {
		s.pos++
		s.value(path)
	}
}

// key reads a dotted key and the blanks around it.
func (s *scanner) key() (parts []string) {
	for {
		s.space()
		parts = append(parts, s.part())
		s.space()
		if s.peek() != '.' {
			return parts
		}
		s.pos++
	}
}

func (s *scanner) part() string {
	if c := s.peek(); c == '"' || c == '\'' {
		raw := s.str()
		if c == '"' {
			if text, err := strconv.Unquote(raw); err == nil {
				return text
			}
		}
		return strings.Trim(raw, string(c))
	}
	start := s.pos
	for s.pos < len(s.text) && !strings.ContainsRune(".=]}, \t\r\n#\"'", rune(s.peek())) {
		s.pos++
	}
	return s.text[start:s.pos]
}

func (s *scanner) value(path string) {
	s.space()
	switch s.peek() {
	case '{':
		s.list('}', func(int) { s.pair(path) })
	case '[':
		s.list(']', func(i int) {
			s.mark(index(path, i), s.line)
			s.value(index(path, i))
		})
	case '"', '\'':
		s.str()
	default:
		for s.pos < len(s.text) && !strings.ContainsRune(",]}\r\n#", rune(s.peek())) {
			s.pos++
		}
	}
}

// list reads the elements of an array or inline table.
func (s *scanner) list(end byte, element func(i int)) {
	s.pos++
	for i := 0; s.pos < len(s.text); i++ {
		s.blank()
		if s.peek() == end {
			break
		}
		start := s.pos
		element(i)
		s.blank()
		if s.peek() == ',' {
			s.pos++
		}
		if s.pos == start {
			s.pos++ // not TOML
		}
	}
	s.pos++
}

// str reads a string of any of the four kinds and returns it with its quotes.
func (s *scanner) str() string {
	start, quote := s.pos, s.text[s.pos:s.pos+1]
	if long := strings.Repeat(quote, 3); strings.HasPrefix(s.text[s.pos:], long) {
		s.pos += 3
		s.until(long, quote == `"`)
		for n := 0; n < 2 && s.peek() == quote[0]; n++ {
			s.pos++ // up to two quotes may stand before the closing three
		}
	} else {
		s.pos++
		s.until(quote, quote == `"`)
	}
	return s.text[start:min(s.pos, len(s.text))]
}

// until goes behind the next end that is not escaped.
func (s *scanner) until(end string, escapes bool) {
	for s.pos < len(s.text) && !strings.HasPrefix(s.text[s.pos:], end) {
		if escapes && s.peek() == '\\' {
			s.next()
		}
		s.next()
	}
	s.pos = min(s.pos+len(end), len(s.text))
}

// mark notes the line of a path that is seen for the first time.
func (s *scanner) mark(path string, line int) {
	if _, seen := s.lines[path]; !seen {
		s.lines[path] = line
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
