package worker

// text returns what the connection remembers under that tag, or "".
func (c *Conn) text(tag byte, name string) string {
	if c.more == nil {
		return ""
	}
	value, _, _ := c.more.texts.Find(tag, name)
	return value
}

// remember keeps a text with the connection; "" lets go of it, and of the memory
// when it was the last thing there.
func (c *Conn) remember(tag byte, name, value string) {
	if value == "" && c.more == nil {
		return
	}
	x := c.extra()
	x.texts = x.texts.With(tag, name, value)
	c.shed()
}
