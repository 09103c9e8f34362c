package pusher

import (
	"bytes"
	"strconv"
)

// What pushd adds to the protocol for clients that connect with recover=1. The
// stock client libraries ignore members that they do not know.

// EventRecovered tells a client behind a subscription, and behind what it has
// missed of the channel, whether that is all.
const EventRecovered = "pushd:recovered"

// eventRecoveredPlain is its name in encrypted channels, where the libraries try
// to decrypt whatever does not begin so. The script gives it its own name again.
const eventRecoveredPlain = "pusher:recovered"

// Place tells a client that is let into a presence channel where it is, with At:
// the confirmation itself is the same for all who join, and may be long. The
// libraries ignore what they do not know that begins so.
func Place(channel string) []byte { return Event("pusher_internal:position", channel, "{}") }

// At puts a position into an event that goes to a client: "epoch" and "offset",
// behind all else. What is no event stays as it is; so does frame.
func At(frame []byte, epoch string, offset uint64) []byte {
	if !bytes.HasPrefix(frame, []byte(`{"event":`)) || frame[len(frame)-1] != '}' {
		return frame
	}
	b := make([]byte, 0, len(frame)+len(epoch)+42)
	b = append(b, frame[:len(frame)-1]...)
	b = append(b, `,"epoch":`...)
	b = AppendString(b, epoch)
	b = append(b, `,"offset":`...)
	return append(strconv.AppendUint(b, offset, 10), '}')
}

// Recovered tells what became of a recovery: reason "" means that the client has
// got all, count messages. The data is a text that holds JSON, as in all events.
func Recovered(channel, reason string, count int) []byte {
	data := `{"recovered":true,"count":` + strconv.Itoa(count) + `}`
	if reason != "" {
		data = `{"recovered":false,"reason":"` + reason + `"}`
	}
	event := EventRecovered
	if IsEncrypted(channel) {
		event = eventRecoveredPlain
	}
	return Event(event, channel, data)
}
