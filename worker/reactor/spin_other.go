//go:build !linux

package reactor

type poller struct{}

func newEpoll() (int, error) { return -1, ErrLinux }

func (r *Reactor[C]) spin() {}
