// Buffers of relays, which are taken only while bytes are on their way.

package calls

import (
	"errors"
	"sync"
)

// bufferSize is what one turn of a relay moves at most, in bytes: twice as much as io.Copy, for half as many system calls,
// and enough for the largest datagram with its address.
const bufferSize = 64 << 10

// buffer holds bytes on their way. It is taken when there are bytes and given back when they are gone.
type buffer [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func takeBuffer() *buffer {
	return buffers.Get().(*buffer)
}

func (b *buffer) giveBack() {
	buffers.Put(b)
}

// errReset is the error of a source whose other side has reset the connection.
var errReset = errors.New("connection reset by the other side")

// source is what bytes come from. It waits for them without holding a buffer.
type source interface {
	// read takes what is there into a buffer, from offset on, and says how many bytes that are. The caller gives the buffer
	// back. io.EOF is the end of a stream, errReset its reset.
	read(offset int) (*buffer, int, error)
}
