package worker_test

// The tests of package worker find this handler by its name; they cannot import
// it themselves, since it stands on the worker.
import _ "github.com/pushd/pushd/worker/handler/chat"
