//go:build !race

package pushdtest

// raceEnabled: programs are built as the tests were.
const raceEnabled = false
