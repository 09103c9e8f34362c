package timer

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The benchmarks put the wheel beside time.AfterFunc, which is what a program
// without a wheel would use, with a million entries pending:
//
//	go test -run '^$' -bench Million -benchtime 1x -count 5 ./timer
//
// Collector time counts, since the entries cause it; GOGC=off shows the rest.
const million = 1_000_000

// subject is what both can do. Callbacks are shared, so that B/entry shows what
// an entry costs by itself.
type subject struct {
	add  func(d time.Duration, fn func()) any
	stop func(entry any)
	// wait returns when all that was added has run.
	wait func(done <-chan struct{})
}

func subjects() map[string]func() subject {
	return map[string]func() subject{
		"Wheel": func() subject {
			w := New(0)
			return subject{
				add:  func(d time.Duration, fn func()) any { return w.After(d, fn) },
				stop: func(e any) { w.Stop(e.(*Timer)) },
				wait: func(<-chan struct{}) {
					for at, ok := w.Next(); ok; at, ok = w.Next() {
						w.Advance(at)
					}
				},
			}
		},
		"AfterFunc": func() subject {
			return subject{
				add:  func(d time.Duration, fn func()) any { return time.AfterFunc(d, fn) },
				stop: func(e any) { e.(*time.Timer).Stop() },
				wait: func(done <-chan struct{}) { <-done },
			}
		},
	}
}

// BenchmarkMillion reports CPU time and bytes for each of a million entries:
// added a minute to an hour ahead, stopped in another order, and, added anew,
// run within one second.
func BenchmarkMillion(b *testing.B) {
	for _, name := range []string{"Wheel", "AfterFunc"} {
		start := subjects()[name]
		b.Run(name, func(b *testing.B) {
			entries := make([]any, million)
			var add, stop, fire time.Duration
			var bytes uint64
			for b.Loop() {
				s := start()
				heap := heapBytes()
				add += cpu(func() {
					for i := range entries {
						entries[i] = s.add(time.Minute+time.Duration(i*7919%(59*60_000))*ms, func() {})
					}
				})
				bytes += heapBytes() - heap
				stop += cpu(func() {
					for i := range entries {
						s.stop(entries[i*7919%million])
					}
				})
				clear(entries)
				fire += fireMillion(s)
			}
			b.ReportMetric(0, "ns/op") // one op is everything; the parts say more
			per := float64(b.N) * million
			b.ReportMetric(float64(add)/per, "add-ns/entry")
			b.ReportMetric(float64(stop)/per, "stop-ns/entry")
			b.ReportMetric(float64(fire)/per, "fire-ns/entry")
			b.ReportMetric(float64(bytes)/per, "B/entry")
		})
	}
}

// fireMillion is the CPU time of running a million entries, which are all added
// before the first of them is due.
func fireMillion(s subject) time.Duration {
	var ran atomic.Int64
	done := make(chan struct{})
	fn := func() {
		if ran.Add(1) == million {
			close(done)
		}
	}
	const ahead = 4 * time.Second
	began := time.Now()
	for i := range million {
		s.add(ahead-time.Since(began)+time.Duration(i*7919%1000)*ms, fn)
	}
	runtime.GC()
	return cpu(func() {
		s.wait(done)
		<-done
	})
}

// BenchmarkReset moves one of a million deadlines and asks what is next, as a
// loop does for a heartbeat; the oldest first, so that Next always changes.
func BenchmarkReset(b *testing.B) {
	w := New(0)
	timers := make([]Timer, million)
	now := time.Duration(0)
	step := func(i int) {
		now += 55 * time.Second / million
		w.Schedule(&timers[i%million], now+time.Minute, 0, func() {})
	}
	for i := range timers {
		step(i)
	}
	i := 0
	for b.Loop() {
		w.Advance(now)
		step(i)
		w.Next()
		i++
	}
}

// BenchmarkNearAndFar adds a near entry in front of a million far ones, asks
// what is next, and stops it, as a handshake does.
func BenchmarkNearAndFar(b *testing.B) {
	w := New(0)
	for i := range million {
		w.After(time.Hour+time.Duration(i)*ms, func() {})
	}
	w.Next()
	for b.Loop() {
		t := w.After(10*time.Second, func() {})
		w.Next()
		w.Stop(t)
		w.Next()
	}
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cpu is the processor time, of all threads, that f takes.
func cpu(f func()) time.Duration {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	f()
	return used() - before
}
