package worker

// Notice is what a service says to a connection, by a publication of
// KindService. It takes its place among the messages of its target like one of
// them: what was published before it has reached the connection, what comes
// after has not, and it reaches the connection once, reloads included.
//
// In a process that takes connections over, OnService may run for a connection
// before its OnResume; session values and channels are there already.
type Notice struct {
	Target  string // of the publication
	Code    uint16 // what kind of notice, in the service's own numbers
	Message Message
}

// serviceNotice calls the callback; true lets the message go to the client.
func (r *route) serviceNotice(c *Conn, p *Publication) (send bool) {
	if r.onService == nil {
		return false
	}
	defer c.loop.contain("OnService", c)
	return r.onService(c, Notice{Target: p.Target, Code: p.Code, Message: Message{Data: p.Data, Binary: p.Binary}})
}
