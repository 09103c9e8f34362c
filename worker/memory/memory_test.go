package memory

import (
	"testing"
	"time"
)

// ballast keeps what is allocated out of reach of the compiler.
var ballast []byte

// tidied runs Tidy to its end, and what it posts on this goroutine.
func tidied(t *testing.T, x *Tidier) {
	t.Helper()
	posted := make(chan func(), 1)
	x.Tidy(func(fn func()) { posted <- fn })
	if due, again := x.Due(0, false); due || !again {
		t.Error("a second one begins beside the first")
	}
	(<-posted)()
	if kept, running := x.Kept(); kept == 0 || running {
		t.Errorf("%d bytes are kept, running %v", kept, running)
	}
}

// calmly sets the processor time that was used up to the last call.
func calmly(x *Tidier) { x.cpu = processorTime() + time.Hour }

func TestGarbageIsDue(t *testing.T) {
	x := &Tidier{}
	calmly(x)
	if due, again := x.Due(0, false); !due || !again {
		t.Fatal("after the start nothing is due")
	}
	tidied(t, x)
	before, _ := x.Kept()
	calmly(x)
	if due, again := x.Due(0, false); due || again {
		t.Error("nothing has grown, and it is due again")
	}
	const garbage = 32 << 20
	ballast = make([]byte, garbage)
	ballast = nil
	calmly(x)
	if due, again := x.Due(0, true); due || !again {
		t.Error("it is due in a busy process, or is not asked again")
	}
	x.cpu = -time.Hour
	if due, again := x.Due(0, false); due || !again {
		t.Error("it is due in a second that was not calm, or is not asked again")
	}
	calmly(x)
	if due, _ := x.Due(0, false); !due {
		t.Error("garbage is not due")
	}
	tidied(t, x)
	if after, _ := x.Kept(); after > before+garbage/2 {
		t.Errorf("%d KiB are held, %d before", after>>10, before>>10)
	}
}

func TestThoseWhoLeaveLeaveMemory(t *testing.T) {
	x := &Tidier{}
	x.Keep(1 << 40)
	x.conns = 800
	for conns, want := range map[int]bool{801: false, 800: false, 700: false, 699: true, 0: true} {
		calmly(x)
		x.conns = 800
		if due, _ := x.Due(conns, false); due != want {
			t.Errorf("%d of 800 are left: due %v", conns, due)
		}
	}
}
