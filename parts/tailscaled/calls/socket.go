// A socket of the kernel that tetherd has handed over.

package calls

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a socket of the kernel's that tetherd has handed over.
type socket struct {
	file *os.File
	raw  syscall.RawConn
}

// newSocket takes over a descriptor.
func newSocket(descriptor int, name string) (*socket, error) {
	if err := syscall.SetNonblock(descriptor, true); err != nil {
		_ = syscall.Close(descriptor)
		return nil, err
	}
	file := os.NewFile(uintptr(descriptor), name)
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &socket{file, raw}, nil
}

// write writes all of it and counts each part as it goes: a client that reads slowly is not silent.
func (s *socket) write(bytes []byte, count *counter) error {
	var failure error
	err := s.raw.Write(func(descriptor uintptr) bool {
		for len(bytes) > 0 {
			written, err := syscall.Write(int(descriptor), bytes)
			switch {
			case err == nil:
				count.add(written)
				bytes = bytes[written:]
			case err == syscall.EAGAIN:
				return false
			case err != syscall.EINTR:
				failure = err
				return true
			}
		}
		return true
	})
	return errors.Join(failure, err)
}

// closeWrite tells the other side that nothing more comes.
func (s *socket) closeWrite() {
	_ = s.raw.Control(func(descriptor uintptr) { _ = syscall.Shutdown(int(descriptor), syscall.SHUT_WR) })
}

// reset closes the socket with a reset; a unix socket just closes.
func (s *socket) reset() {
	_ = s.raw.Control(func(descriptor uintptr) {
		_ = unix.SetsockoptLinger(int(descriptor), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	_ = s.file.Close()
}

// drained waits until the other side has taken in all that was written, at most for limit: a reset would overtake it.
func (s *socket) drained(limit time.Duration, closed <-chan struct{}) {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; s.waiting() > 0 && time.Now().Before(deadline); pause = min(2*pause, 100*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-closed:
			return
		}
	}
}

// waiting is the number of bytes that the other side has not taken in yet.
func (s *socket) waiting() (bytes int) {
	_ = s.raw.Control(func(descriptor uintptr) { bytes, _ = unix.IoctlGetInt(int(descriptor), unix.SIOCOUTQ) })
	return bytes
}

// gone waits until the other side, which has ended already, resets the connection too. It returns an error when this side
// closes the socket. A hang-up does not count: this side's own half-close is one, and so is a unix socket that was closed
// after its last bytes, which may still be on their way to the target.
func (s *socket) gone() error {
	return s.raw.Read(hasError)
}

// isReset tells whether the other side has reset the connection, though bytes of it may be unread.
func (s *socket) isReset() (reset bool) {
	_ = s.raw.Control(func(descriptor uintptr) { reset = hasError(descriptor) })
	return reset
}

func hasError(descriptor uintptr) bool {
	look := []unix.PollFd{{Fd: int32(descriptor), Events: 0}}
	found, err := unix.Poll(look, 0)
	return err == nil && found > 0 && look[0].Revents&unix.POLLERR != 0
}

// socketSource reads from a socket of the kernel's.
type socketSource struct {
	raw syscall.RawConn
	// try is one attempt to read, made once so that none costs memory.
	try    func(descriptor uintptr) bool
	offset int
	taken  *buffer
	length int
	err    error
}

func newSocketSource(raw syscall.RawConn) *socketSource {
	s := &socketSource{raw: raw}
	s.try = s.attempt
	return s
}

// attempt returns false where nothing is there yet.
func (s *socketSource) attempt(descriptor uintptr) bool {
	s.taken = takeBuffer()
	for {
		s.length, s.err = syscall.Read(int(descriptor), s.taken[s.offset:])
		if s.err != syscall.EINTR {
			break
		}
	}
	if s.err == syscall.EAGAIN {
		s.taken.giveBack()
		s.taken = nil
		return false
	}
	return true
}

// read does not tell the end of a stream from an empty datagram: the length is 0 for both.
func (s *socketSource) read(offset int) (*buffer, int, error) {
	s.offset = offset
	if err := s.raw.Read(s.try); err != nil {
		return nil, 0, err
	}
	taken := s.taken
	s.taken = nil
	if s.err == nil {
		return taken, s.length, nil
	}
	taken.giveBack()
	if errors.Is(s.err, syscall.ECONNRESET) {
		return nil, 0, errReset
	}
	return nil, 0, s.err
}

// sourceOf reads from a connection, of the network stack or of the kernel, until closed; release is to be called at the end.
func sourceOf(conn net.Conn, closed <-chan struct{}) (from source, release func(), err error) {
	if endpoint, queue, err := endpointOf(conn); err == nil {
		from := newNetstackSource(endpoint, queue, closed)
		return from, from.close, nil
	}
	system, ok := conn.(syscall.Conn)
	if !ok {
		return nil, nil, errNotNetstack
	}
	raw, err := system.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	return newSocketSource(raw), func() {}, nil
}

// streamSource is a socketSource that knows the end of a stream.
type streamSource struct{ *socketSource }

func (s streamSource) read(offset int) (*buffer, int, error) {
	taken, length, err := s.socketSource.read(offset)
	if err == nil && length == 0 {
		taken.giveBack()
		return nil, 0, io.EOF
	}
	return taken, length, err
}
