//go:build !poll_opt

package reactor

import (
	"net"
	"reflect"
	"unsafe"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// gnet keeps with each connection the address of its peer, twice, and a function
// that only its poll_opt build calls: 96 bytes, or 176 where the connection came
// by adoption. The reactor asks the kernel for the address in the rare case
// that somebody wants it, so it lets go of them. They are private fields of gnet's
// connection, found by name and type; where they are not as expected, nothing
// is touched and a test fails.

// surplus is where those fields are in gnet's connection, as offsets in bytes.
type surplus struct {
	remote, remoteAddr, callback uintptr
	looked, known                bool
}

// findSurplus looks at the type of a connection.
func findSurplus(t reflect.Type) surplus {
	s := surplus{looked: true}
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return s
	}
	remote, ok1 := t.Elem().FieldByName("remote")
	remoteAddr, ok2 := t.Elem().FieldByName("remoteAddr")
	poll, ok3 := t.Elem().FieldByName("pollAttachment")
	if !ok1 || !ok2 || !ok3 || poll.Type.Kind() != reflect.Struct ||
		remote.Type != reflect.TypeFor[unix.Sockaddr]() || remoteAddr.Type != reflect.TypeFor[net.Addr]() {
		return s
	}
	callback, ok := poll.Type.FieldByName("Callback")
	if !ok || callback.Type.Kind() != reflect.Func {
		return s
	}
	return surplus{remote.Offset, remoteAddr.Offset, poll.Offset + callback.Offset, true, true}
}

// trim lets go of what gnet keeps with s and nobody asks for. s must be a stream
// that gnet is about to watch.
func (r *Reactor[C]) trim(s gnet.Conn) {
	v := reflect.ValueOf(s)
	if !r.surplus.looked {
		r.surplus = findSurplus(v.Type())
	}
	if !r.surplus.known {
		return
	}
	p := v.UnsafePointer()
	*(*unix.Sockaddr)(unsafe.Add(p, r.surplus.remote)) = nil
	*(*net.Addr)(unsafe.Add(p, r.surplus.remoteAddr)) = nil
	*(*func())(unsafe.Add(p, r.surplus.callback)) = nil
}
