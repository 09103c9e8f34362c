package websocket

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/klauspost/compress/flate"
)

// Scratch memory in the pools is not kept beyond this many bytes.
const maxScratch = 64 << 10

// maxFinalBlocks bounds how often one message may end its DEFLATE stream and
// begin another (BFINAL, RFC 7692, section 7.2.3.4), as each restart costs up
// to a window's copy. Programs that send such blocks send one per message.
const maxFinalBlocks = 64

// flushMarker ends every flushed DEFLATE stream: the lengths of an empty
// stored block. Senders leave it out (RFC 7692, section 7.2.1).
const flushMarker = "\x00\x00\xff\xff"

// streamEnd is what a receiver puts after a message: the marker, and an empty
// final block, so that the reader ends with io.EOF if the marker ended a block.
const streamEnd = flushMarker + "\x01\x00\x00\xff\xff"

// inflater is a reusable DEFLATE reader with its scratch memory.
type inflater struct {
	flate io.ReadCloser // implements flate.Resetter
	src   bytes.Reader
	in    []byte // the message, then streamEnd
	out   []byte
}

var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.flate = flate.NewReader(&f.src)
	return f
}}

// inflate returns what the compressed message p stands for, in memory of its
// own. More than limit bytes (0 = any) are errTooBig, and no more than that is
// ever inflated; data that is not DEFLATE, or not to its end, is errInflate.
func inflate(p []byte, limit int) ([]byte, error) {
	f := inflaters.Get().(*inflater)
	f.in = append(append(f.in[:0], p...), streamEnd...)
	f.src.Reset(f.in)
	f.out = f.out[:0]

	err := f.run(limit)
	var data []byte
	if err == nil && cap(f.out) > maxScratch {
		data = f.out
	} else if err == nil {
		data = append(data, f.out...)
	}
	if cap(f.in) > maxScratch {
		f.in = nil
	}
	if cap(f.out) > maxScratch {
		f.out = nil
	}
	inflaters.Put(f)
	return data, err
}

// run inflates f.src into f.out.
func (f *inflater) run(limit int) error {
	var window []byte
	for range maxFinalBlocks {
		// NewReader promises that its result is a Resetter, and Reset that it
		// returns nil.
		_ = f.flate.(flate.Resetter).Reset(&f.src, window)
		if err := f.readAll(limit); err != nil {
			return err
		}
		if f.src.Len() <= len(streamEnd) {
			return nil
		}
		window = f.out[max(0, len(f.out)-1<<15):] // a final block, and more after it
	}
	return errInflate
}

// readAll reads f.flate to its end. The scratch at most doubles each time.
func (f *inflater) readAll(limit int) error {
	for {
		if len(f.out) == cap(f.out) {
			size := max(2*cap(f.out), 4<<10)
			if limit > 0 {
				size = min(size, limit+1)
			}
			grown := make([]byte, len(f.out), size)
			copy(grown, f.out)
			f.out = grown
		}
		n, err := f.flate.Read(f.out[len(f.out):cap(f.out)])
		f.out = f.out[:len(f.out)+n]
		switch {
		case limit > 0 && len(f.out) > limit:
			return errTooBig
		case err == io.EOF:
			return nil
		case err != nil:
			return errInflate
		}
	}
}

// deflater is a reusable DEFLATE writer into its own buffer.
type deflater struct {
	flate *flate.Writer
	out   bytes.Buffer
}

// Windows of permessage-deflate have 2^MinBits to 2^MaxBits bytes (RFC 7692,
// section 7.1.2).
const (
	MinBits = 8
	MaxBits = 15
)

// deflaters are pooled by window bits: a window's size is fixed when a writer
// is made.
var deflaters [MaxBits + 1]sync.Pool

// AppendCompressed appends payload to dst as one frame of permessage-deflate,
// made with a window of 2^windowBits bytes: the ServerBits of the handshake's
// Result, from 8 to 15. It panics for other bits.
//
// A sender may compress some messages and not others. Below some 150 bytes
// AppendFrame is usually shorter, and always cheaper.
func AppendCompressed(dst []byte, op Op, payload []byte, windowBits uint8) []byte {
	pool := &deflaters[windowBits]
	f, _ := pool.Get().(*deflater)
	if f == nil {
		f = newDeflater(windowBits)
	}
	f.out.Reset()
	f.flate.Reset(&f.out)
	// A bytes.Buffer does not fail, and flate has no error of its own.
	_, _ = f.flate.Write(payload)
	_ = f.flate.Flush()

	p := bytes.TrimSuffix(f.out.Bytes(), []byte(flushMarker))
	dst = appendHeader(dst, finBit|rsv1Bit|byte(op), len(p))
	dst = append(dst, p...)
	if f.out.Cap() > maxScratch {
		f.out = bytes.Buffer{}
	}
	pool.Put(f)
	return dst
}

// newDeflater makes a writer for one size of window. The whole window has an
// encoder of its own, twice as fast as that for smaller ones.
func newDeflater(windowBits uint8) *deflater {
	f := new(deflater)
	var err error
	switch {
	case windowBits == MaxBits:
		f.flate, err = flate.NewWriter(&f.out, flate.BestSpeed)
	case windowBits >= MinBits:
		f.flate, err = flate.NewWriterWindow(&f.out, 1<<windowBits)
	default:
		err = errors.New("want 8 to 15")
	}
	if err != nil {
		panic("websocket: compress with window bits " + strconv.Itoa(int(windowBits)) + ": " + err.Error())
	}
	return f
}
