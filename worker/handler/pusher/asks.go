package pusher

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pushd/pushd/worker"
)

// asks are the requests of this process that wait for the word of a session in
// another one. It comes as a message of a channel that only this process hears.
type asks struct {
	w       *worker.Worker
	from    string // the channel; "" = nobody has asked yet
	waiting map[string]*worker.Response
}

// ask is one of them.
type ask struct{ from, id string }

// put lets w wait.
func (k *asks) put(w *worker.Response, wait time.Duration) ask {
	if k.from == "" {
		k.from, k.waiting = carriedBy+rand.Text(), map[string]*worker.Response{}
		k.w.On(k.from, k.said)
	}
	id := rand.Text()
	k.waiting[id] = w
	w.WhenOver(func() { delete(k.waiting, id) })
	k.w.After(wait, func() { k.answer(id, http.StatusServiceUnavailable) })
	return ask{k.from, id}
}

// said takes a word: id, space, status.
func (k *asks) said(m worker.Message) {
	id, text, _ := strings.Cut(m.String(), " ")
	if status, err := strconv.Atoi(text); err == nil {
		k.answer(id, status)
	}
}

// answer ends the wait, if it is not over.
func (k *asks) answer(id string, status int) {
	if w := k.waiting[id]; w != nil {
		heardAnswer(w, status)
	}
}
