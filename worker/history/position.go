// Package history numbers the messages of channels and keeps the last of them,
// so that who was away can be told what was missed: all of it, or that it cannot
// be had. It does no input or output and has no clock: whoever calls it says what
// time it is. Nothing in it is safe for several goroutines.
//
// A Store has a sequence for each app, "" for channels of none. Each message of
// an app gets the next number, its offset, whatever channel it is in. So an
// offset says for every channel of the app what came before it, and a client
// needs one position only, however many channels it reads.
package history

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Epoch names a sequence: offsets of two epochs have nothing to do with each
// other. It is drawn when a sequence begins with nothing, and anew whenever a
// message may have been numbered that is not kept any more. 0 is none.
type Epoch uint32

// epochText is the length of an epoch's text: letters and digits, base 36.
const epochText = 6

// epochs is one more than the greatest epoch.
const epochs = 36 * 36 * 36 * 36 * 36 * 36

// Stranger is the epoch of a text that is none of ours. No sequence has it.
const Stranger Epoch = math.MaxUint32

// String returns six letters and digits, "" for none.
func (e Epoch) String() string {
	if e == 0 {
		return ""
	}
	s := strconv.FormatUint(uint64(e), 36)
	return strings.Repeat("0", max(epochText-len(s), 0)) + s
}

// ParseEpoch reads an epoch's text. What is no epoch is Stranger, which matches
// nothing: it must never be taken for "no epoch", which would be to take part
// of a history for all of it.
func ParseEpoch(s string) Epoch {
	if len(s) != epochText {
		return Stranger
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return Stranger
		}
	}
	n, err := strconv.ParseUint(s, 36, 32)
	if err != nil || n == 0 {
		return Stranger
	}
	return Epoch(n)
}

// Draw makes an epoch of random bits.
func Draw(random uint64) Epoch { return Epoch(random%(epochs-1)) + 1 }

// Position is a place in the sequence of an app: behind the message with that
// offset, 0 = before the first. The zero value is no position.
type Position struct {
	Epoch  Epoch
	Offset uint64
}

// String returns "EPOCH:OFFSET", "" for none.
func (p Position) String() string {
	if p == (Position{}) {
		return ""
	}
	return p.Epoch.String() + ":" + strconv.FormatUint(p.Offset, 10)
}

// MarshalText and UnmarshalText make a position its text in JSON.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Position) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*p = Position{}
		return nil
	}
	*p, err = Parse(string(b))
	return err
}

// maxPosition is the longest text of a position: epoch, colon, 20 digits.
const maxPosition = epochText + 1 + 20

// ErrPosition says what a position looks like.
var ErrPosition = errors.New(`a position is EPOCH:OFFSET, six letters or digits and a number, as in "k3x9ab:1042"`)

// Parse reads the text of a position. Text of any length costs no more than a
// look at its beginning, and none of it is repeated in the error. An offset
// that was never given is no error here: its reader is told Future.
func Parse(s string) (Position, error) {
	epoch, offset, ok := strings.Cut(s[:min(len(s), maxPosition+1)], ":")
	if !ok || len(s) > maxPosition {
		return Position{}, ErrPosition
	}
	p := Position{Epoch: ParseEpoch(epoch)}
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil || p.Epoch == Stranger || offset != strconv.FormatUint(n, 10) {
		return Position{}, ErrPosition
	}
	p.Offset = n
	return p, nil
}

// Reason says why what was missed cannot be had.
type Reason uint8

// Reasons. Their texts are part of the protocols.
const (
	Whole      Reason = iota // it can
	OtherEpoch               // the position is of another epoch
	Age                      // some of it was too old to be kept
	Size                     // there was too much of it: to be kept, or for one answer
	Future                   // the position is ahead of all that was numbered
	Slow                     // the client did not read in time what it was sent
	Off                      // the channel has no history

	Reasons = iota // their number
)

var reasons = [Reasons]string{"", "epoch", "age", "size", "future", "slow", "off"}

// String returns the reason as protocols write it, "" for Whole.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return fmt.Sprintf("reason %d", r)
}
