package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	// MaxParts bounds a body that comes in parts, in bytes.
	MaxParts = 8 << 20
	partSize = 64 << 10 // of a part, in bytes; it travels as base64
)

// Split returns m, or the parts in which its body travels if that is too long.
func Split(m Message) []Message {
	if len(m.Body) <= partSize {
		return []Message{m}
	}
	var parts []Message
	for rest := []byte(m.Body); len(rest) > 0; {
		n := min(len(rest), partSize)
		parts = append(parts, Message{Type: m.Type, ID: m.ID, Part: rest[:n], More: n < len(rest)})
		rest = rest[n:]
	}
	return parts
}

// Join collects the parts of a body. The zero value is ready; it is for one
// message only.
type Join struct{ body []byte }

// Add takes the next message and reports whether it is whole: then m has its
// body. A body over MaxParts is an error in m.
func (j *Join) Add(m *Message) (whole bool) {
	if len(m.Part) == 0 {
		return true
	}
	if j.body = append(j.body, m.Part...); len(j.body) > MaxParts {
		m.Error = fmt.Sprintf("message in parts exceeds %d MiB", MaxParts>>20)
		return true
	}
	if m.More {
		return false
	}
	m.Body, m.Part = j.body, nil
	if !json.Valid(m.Body) {
		m.Body, m.Error = nil, "message in parts is no JSON: a part is missing"
	}
	return true
}

var errLine = errors.New("encoder wrote no line")

// Marshal is json.Marshal that leaves <, > and & as they are: escaped they are
// six bytes each, and what strangers wrote decides how many there are.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	raw, ok := bytes.CutSuffix(b.Bytes(), []byte("\n"))
	if !ok {
		return nil, errLine
	}
	return raw, nil
}
