package greet_test

import (
	"testing"

	"github.com/pushd/pushd/examples/plugin/greet"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// TestGreet tries the handler as the config makes it, without a process or a port:
// two clients, and a reload to another greeting under one of them.
func TestGreet(t *testing.T) {
	made := func(options string) *worker.Worker {
		h, err := greet.New(worker.Options(options))
		if err != nil {
			t.Fatal(err)
		}
		w := worker.New()
		w.Handler = h
		return w
	}
	s := workertest.Start(t, made(`{}`))
	ann, bob := s.Dial("/"), s.Dial("/")
	ann.SendText("Ann")
	ann.WantText("Hello, Ann!")
	bob.WantNothing()

	s.Reload(made(`{"greeting":"Servus"}`))
	bob.SendText("Bob")
	bob.WantText("Servus, Bob!")

	if _, err := greet.New(worker.Options(`{"greting":"Hi"}`)); err == nil {
		t.Error("an option that is written wrongly is taken")
	}
}
