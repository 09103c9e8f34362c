package worker

// SendMany sends m to several connections of this process, in the order of the
// calls with Send, and encodes it once for all that speak alike. One that is
// closed or whose queue is full is passed over, as a publication would.
func (w *Worker) SendMany(to []*Conn, m Message) error {
	if len(m.Data) > maxPublication {
		return ErrTooLarge
	}
	l := w.loop
	d := &delivery{pub: Publication{Kind: KindMessage, Data: m.Data, Binary: m.Binary}}
	for _, c := range to {
		l.progress.Add(1)
		if c.open() {
			d.send(l, c, 1)
		}
	}
	return nil
}

// PublishOrders publishes what the package order has made of an order, all of it
// or, with an error, nothing. Errors: ErrBrokerBusy, ErrBrokerAway,
// ErrUnavailable.
func (w *Worker) PublishOrders(list []Publication) error {
	l := w.loop
	for i := range list {
		list[i].Shard = Shard(list[i].Scope, list[i].Target)
		if err := l.takes(&list[i]); err != nil {
			return err
		}
	}
	l.counts.published += uint64(len(list))
	return l.broker.PublishAll(list)
}
