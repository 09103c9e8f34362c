package config

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/pushd/pushd/worker"
)

// reader collects what is wrong while the tables are read, so that one run
// shows every mistake.
type reader struct {
	file  string
	lines map[string]int
	env   func(string) string
	errs  Errors
	files map[string]string // where copies of files come from, by name

	notes      []string        // see Config.Overridden
	overridden map[string]bool // those of notes

	dataDir string // data_dir
	cluster bool   // there is [broker] url
}

// table is one table of the file. Its methods read one key each, leave the
// default in place when it is not set, and note wrong types.
type table struct {
	*reader
	path   string
	values map[string]any
	prefix string          // of environment variables; "" = none
	known  map[string]bool // keys that were asked for
}

func (r *reader) table(path string, values map[string]any, prefix string) *table {
	return &table{reader: r, path: path, values: values, prefix: prefix, known: map[string]bool{}}
}

// at returns the place of a key: "pushd.toml:12: api.listen".
func (r *reader) at(path string) string {
	if r.file == "" {
		return path
	}
	if line := r.lines[path]; line > 0 {
		return fmt.Sprintf("%s:%d: %s", r.file, line, path)
	}
	return r.file + ": " + path
}

func (r *reader) fail(at, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(at+": "+format, args...))
}

// value is a raw value and where it stands. Text from the environment may be
// read as any type.
type value struct {
	any
	at   string
	text bool
}

func (t *table) get(key string) (value, bool) {
	if t.prefix != "" {
		name := t.prefix + strings.ToUpper(key)
		if v := t.env(name); v != "" {
			if filed, ok := t.filed(key); ok {
				t.overrides(name, filed, v)
			}
			t.known[key] = true
			return value{v, name, true}, true
		}
	}
	return t.filed(key)
}

// filed is get without the environment, for tables.
func (t *table) filed(key string) (value, bool) {
	t.known[key] = true
	v, ok := t.values[key]
	return value{v, t.at(join(t.path, key)), false}, ok
}

// where returns the place that a value came from, for a later check.
func (t *table) where(key string) string {
	v, ok := t.get(key)
	if !ok {
		return t.at(t.path)
	}
	return v.at
}

// written returns the place of a key in the file, "" if it is not there.
func (t *table) written(key string) string {
	if v, ok := t.filed(key); ok {
		return v.at
	}
	return ""
}

func (t *table) str(key string, dst *string) {
	v, ok := t.get(key)
	if !ok {
		return
	}
	s, ok := v.any.(string)
	if !ok {
		t.fail(v.at, "needs a string, not %s", kind(v.any))
		return
	}
	*dst = s
}

// secret reads a string that may also stand in the file named by the variable
// *_FILE. A placeholder is refused. Its value is never part of a message.
func (t *table) secret(key string, dst *string) {
	t.str(key, dst)
	at := t.where(key)
	if file, ok := t.secretFrom(key, dst); ok {
		at = file
	}
	if *dst == "" {
		return
	}
	if err := worker.CheckSecret(*dst, 1); err != nil {
		t.fail(at, "%v", err)
	}
}

// secretFrom reads the file that the variable *_FILE names; ok says that there
// is one.
func (t *table) secretFrom(key string, dst *string) (at string, ok bool) {
	if t.prefix == "" {
		return "", false
	}
	name := t.prefix + strings.ToUpper(key)
	at = name + "_FILE"
	file := t.env(at)
	if file == "" {
		return "", false
	}
	if t.env(name) != "" {
		t.fail(at, "%s is set too: use one of them", name)
		return "", false
	}
	text, err := secretFile(file)
	if err != nil {
		t.fail(at, "%v", err)
		return "", false
	}
	if filed, ok := t.filed(key); ok {
		t.overrides(at, filed, text)
	}
	*dst = text
	return at, true
}

// secretFile reads a secret without the line end that editors leave.
func secretFile(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", withoutPath(err)
	}
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o002 != 0 {
		return "", fmt.Errorf("%s can be written to by everybody: chmod o-w it", name)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return s, nil
}

func (t *table) boolean(key string, dst *bool) {
	v, ok := t.get(key)
	if !ok {
		return
	}
	b, ok := v.any.(bool)
	if s, text := v.any.(string); text && v.text {
		var err error
		b, err = strconv.ParseBool(s)
		ok = err == nil
	}
	if !ok {
		t.fail(v.at, "needs true or false, not %s", kind(v.any))
		return
	}
	*dst = b
}

// integer reads a number that is not negative.
func (t *table) integer(key string, dst *int) {
	v, ok := t.get(key)
	if !ok {
		return
	}
	n, ok := v.any.(int64)
	if s, text := v.any.(string); text && v.text {
		var err error
		n, err = strconv.ParseInt(s, 10, 64)
		ok = err == nil
	}
	switch {
	case !ok:
		t.fail(v.at, "needs a whole number, not %s", kind(v.any))
	case n < 0 || n > 1<<40:
		t.fail(v.at, "%d is out of range", n)
	default:
		*dst = int(n)
	}
}

// size reads a number of bytes: 65536 or "64KiB".
func (t *table) size(key string, dst *int) {
	v, ok := t.get(key)
	if !ok {
		return
	}
	s, ok := v.any.(string)
	if !ok {
		t.integer(key, dst)
		return
	}
	n, err := parseSize(s)
	if err != nil {
		t.fail(v.at, "%v", err)
		return
	}
	*dst = n
}

var sizeUnits = []struct {
	suffix string
	shift  uint
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"", 0}}

func parseSize(s string) (int, error) {
	bad := fmt.Errorf(`%q is no size: write a number of bytes, or "64KiB", "16MiB", "1GiB"`, s)
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 62)
		if err != nil || n > 1<<40>>u.shift {
			return 0, bad
		}
		return int(n << u.shift), nil
	}
	return 0, bad
}

func (t *table) duration(key string, dst *time.Duration) {
	v, ok := t.get(key)
	if !ok {
		return
	}
	d, err := parseDuration(v.any)
	if err != nil {
		t.fail(v.at, "%v", err)
		return
	}
	*dst = d
}

// maxDuration keeps sums and milliseconds far from overflow.
const maxDuration = 10 * 365 * 24 * time.Hour

func parseDuration(v any) (time.Duration, error) {
	s, ok := v.(string)
	if n, zero := v.(int64); zero && n == 0 {
		return 0, nil
	}
	if !ok {
		return 0, errors.New(`needs a duration such as "5s" or "1m30s"`)
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf(`%q is no duration: write "500ms", "5s", "1m30s"`, s)
	case d < 0 || d > maxDuration:
		return 0, fmt.Errorf("%q is out of range", s)
	case d > 0 && d < time.Millisecond:
		return 0, fmt.Errorf("%q is shorter than a millisecond", s)
	}
	return d, nil
}

// list reads a list of strings; one string is a list of one.
func (t *table) list(key string, dst *[]string) {
	v, ok := t.get(key)
	if !ok {
		return
	}
	if s, ok := v.any.(string); ok {
		*dst = []string{s}
		if v.text {
			*dst = splitList(s)
		}
		return
	}
	raw, ok := v.any.([]any)
	out := make([]string, 0, len(raw))
	for _, e := range raw {
		s, isString := e.(string)
		ok = ok && isString
		out = append(out, s)
	}
	if !ok {
		t.fail(v.at, "needs a string or a list of strings")
		return
	}
	*dst = out
}

// splitList cuts the comma-separated list of an environment variable.
func splitList(s string) (out []string) {
	for e := range strings.SplitSeq(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// sub reads a table within this one; without it, an empty one.
func (t *table) sub(key, prefix string) *table {
	v, ok := t.filed(key)
	m, isTable := v.any.(map[string]any)
	if ok && !isTable {
		t.fail(v.at, "needs a table, not %s", kind(v.any))
	}
	return t.table(join(t.path, key), m, prefix)
}

// subs reads an array of tables.
func (t *table) subs(key string) (out []*table) {
	v, ok := t.filed(key)
	if !ok {
		return nil
	}
	var all []map[string]any
	switch raw := v.any.(type) {
	case []map[string]any:
		all = raw
	case []any:
		for _, e := range raw {
			m, _ := e.(map[string]any)
			all = append(all, m)
		}
	default:
		t.fail(v.at, "needs [[%s]] tables, not %s", key, kind(v.any))
	}
	for i, m := range all {
		path := index(join(t.path, key), i)
		if m == nil {
			t.fail(t.at(path), "needs a table")
			continue
		}
		out = append(out, t.table(path, m, ""))
	}
	return out
}

// done notes the keys that nothing has asked for.
func (t *table) done() {
	var unknown []string
	for key := range t.values {
		if !t.known[key] {
			unknown = append(unknown, key)
		}
	}
	sort.Strings(unknown)
	for _, key := range unknown {
		hint := ""
		if near := Nearest(key, t.known); near != "" {
			hint = fmt.Sprintf(" (did you mean %q?)", near)
		}
		t.fail(t.at(join(t.path, key)), "unknown key%s", hint)
	}
}

// kind names the type of a value. The value itself may be a secret.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date"
}
