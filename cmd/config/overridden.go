package config

import "fmt"

// Overridden names what the file says and a variable of the environment says
// otherwise.
func (c *Config) Overridden() []string { return c.overridden }

// overrides notes that the variable name counts and not what stands at a place of the
// file, unless they say the same. No value is shown: it may be a secret.
func (r *reader) overrides(name string, filed value, text string) {
	note := fmt.Sprintf("%s: %s of the environment counts in its place", filed.at, name)
	if fmt.Sprint(filed.any) == text || r.overridden[note] {
		return
	}
	if r.overridden == nil {
		r.overridden = map[string]bool{}
	}
	r.overridden[note] = true
	r.notes = append(r.notes, note)
}
