package load

import "bytes"

// envelope is the JSON around the data of an event. All who get an event get
// the same bytes, and one event of a channel differs from the next in its data
// only. Decoding each of a thousand copies takes longer than receiving it, and
// the last one would be late because of its reader. So the envelope of the
// event that was decoded last is remembered, and one that has the same bytes
// around a string without escapes means the same.
type envelope struct{ head, tail []byte } // up to the string's first quote, from its last one on

// learn remembers what an event has around its data, if they stand in it once
// and as they are.
func (e *envelope) learn(event []byte, data string) {
	quoted := []byte(`"` + data + `"`)
	if at := bytes.Index(event, quoted); at >= 0 && at == bytes.LastIndex(event, quoted) {
		e.head = append(e.head[:0], event[:at+1]...)
		e.tail = append(e.tail[:0], event[at+len(quoted)-1:]...)
	}
}

// open returns the data of an event in this envelope; anything else is to be
// decoded.
func (e *envelope) open(event []byte) (data []byte, ok bool) {
	data, ok = bytes.CutPrefix(event, e.head)
	if !ok || len(e.head) == 0 {
		return nil, false
	}
	data, ok = bytes.CutSuffix(data, e.tail)
	return data, ok && bytes.IndexByte(data, '"') < 0 && bytes.IndexByte(data, '\\') < 0
}
