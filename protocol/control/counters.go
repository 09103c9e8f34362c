package control

// Counters are what a worker process counts from its start. They only grow, so
// that those of processes that follow each other can be added up: fields of the
// answer to the query "stats", and of TypeReport.
type Counters struct {
	MessagesIn   uint64 `json:"messages_in"`
	MessagesOut  uint64 `json:"messages_out"`
	SendFailures uint64 `json:"send_failures"`

	// Behind the metrics of the same names.
	Opened            uint64            `json:"opened"`
	Panics            uint64            `json:"callback_panics"`
	HandshakesRefused map[string]uint64 `json:"handshakes_refused,omitempty"` // by cause
	SendFailuresBy    map[string]uint64 `json:"send_failures_by,omitempty"`   // by cause
	PublishedBy       map[string]uint64 `json:"published_by,omitempty"`       // by source
	BrokerGaps        uint64            `json:"broker_gaps"`
	IngestRefused     map[string]uint64 `json:"ingest_refused,omitempty"` // by cause
	ClosedBy          map[string]uint64 `json:"closed_by,omitempty"`      // by the limit of rate
}

// Plus returns the sum; neither c nor o is changed.
func (c Counters) Plus(o Counters) Counters {
	c.MessagesIn += o.MessagesIn
	c.MessagesOut += o.MessagesOut
	c.SendFailures += o.SendFailures
	c.Opened += o.Opened
	c.Panics += o.Panics
	c.BrokerGaps += o.BrokerGaps
	c.HandshakesRefused = sum(c.HandshakesRefused, o.HandshakesRefused)
	c.SendFailuresBy = sum(c.SendFailuresBy, o.SendFailuresBy)
	c.PublishedBy = sum(c.PublishedBy, o.PublishedBy)
	c.IngestRefused = sum(c.IngestRefused, o.IngestRefused)
	c.ClosedBy = sum(c.ClosedBy, o.ClosedBy)
	return c
}

func sum(a, b map[string]uint64) map[string]uint64 {
	if len(a)+len(b) == 0 {
		return nil
	}
	s := make(map[string]uint64, max(len(a), len(b)))
	for _, m := range []map[string]uint64{a, b} {
		for k, n := range m {
			s[k] += n
		}
	}
	return s
}
