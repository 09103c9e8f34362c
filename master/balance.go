package master

import "os"

// The workers of a group accept from the same listeners. So that each gets its
// share they tell each other, in memory that all of them have mapped, how many
// clients each has. What is in it is their business; the master keeps it, since it
// outlives any of them.

// balanceSize has room for 1,023 workers; memory that nobody has touched costs
// nothing. A worker that has no place in it takes the clients that it gets.
const balanceSize = 1024 * 64

// balanceOf returns the memory of a group, nil if there is none to be had. It runs
// on the loop.
func (m *master) balanceOf(group string) *os.File {
	f := m.balances[group]
	if f == nil {
		var err error
		if f, err = newShared("pushd-balance", balanceSize); err != nil {
			m.log.Warn("workers cannot tell each other how many clients they have: those are spread as the kernel likes", "group", group, "error", err)
			return nil
		}
		m.balances[group] = f
	}
	return f
}
