package worker

// wraps are how often counters of a connection have passed 2^32.
type wraps struct{ msgsIn, msgsOut, in, out uint32 }

// Counters returns what was received and sent so far: whole messages, and
// bytes on the wire.
func (c *Conn) Counters() (messagesIn, messagesOut, bytesIn, bytesOut uint64) {
	messagesIn, messagesOut = c.messages()
	bytesIn, bytesOut = c.traffic()
	return messagesIn, messagesOut, bytesIn, bytesOut
}

// messages returns the messages received and sent.
func (c *Conn) messages() (in, out uint64) {
	in, out = uint64(c.msgs.in), uint64(c.msgs.out)
	if c.more != nil {
		in, out = in+uint64(c.more.wraps.msgsIn)<<32, out+uint64(c.more.wraps.msgsOut)<<32
	}
	return in, out
}

// gotMessage counts a message.
func (c *Conn) gotMessage() {
	if c.msgs.in++; c.msgs.in == 0 {
		c.extra().wraps.msgsIn++
	}
}

// sentMessages counts n messages.
func (c *Conn) sentMessages(n uint32) {
	if c.msgs.out += n; c.msgs.out < n {
		c.extra().wraps.msgsOut++
	}
}

// traffic returns the bytes received and sent.
func (c *Conn) traffic() (in, out uint64) {
	in, out = uint64(c.bytes.in), uint64(c.bytes.out)
	if c.more != nil {
		in, out = in+uint64(c.more.wraps.in)<<32, out+uint64(c.more.wraps.out)<<32
	}
	return in, out
}

// received counts n bytes, fewer than 4 GiB.
func (c *Conn) received(n int) {
	if c.bytes.in += uint32(n); c.bytes.in < uint32(n) {
		c.extra().wraps.in++
	}
}

// sent counts n bytes, fewer than 4 GiB.
func (c *Conn) sent(n int) {
	if c.bytes.out += uint32(n); c.bytes.out < uint32(n) {
		c.extra().wraps.out++
	}
}
