// Reaches the gVisor endpoint behind a connection, to wait for it and to reset it.

package calls

import (
	"errors"
	"io"
	"net"
	"reflect"
	"syscall"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// errNotNetstack is the error for a connection that is none of gVisor's, or one of an unknown layout.
var errNotNetstack = errors.New("not a connection of the network stack")

// endpointOf returns the endpoint behind a connection of gVisor's adapter, and the queue of those who wait for it. The
// adapter has no way to wait without a buffer or to reset a connection. Its fields are private: a test tells when a new
// version names them otherwise.
func endpointOf(conn net.Conn) (tcpip.Endpoint, *waiter.Queue, error) {
	var value reflect.Value
	switch conn := conn.(type) {
	case *gonet.TCPConn:
		value = reflect.ValueOf(conn).Elem()
	case *gonet.UDPConn:
		value = reflect.ValueOf(conn).Elem()
	default:
		return nil, nil, errNotNetstack
	}
	endpoint, ok := field(value, "ep").(tcpip.Endpoint)
	if !ok {
		return nil, nil, errNotNetstack
	}
	queue, ok := field(value, "wq").(*waiter.Queue)
	if !ok {
		return nil, nil, errNotNetstack
	}
	return endpoint, queue, nil
}

// field reads a private field, or nil where there is none of this name.
func field(value reflect.Value, name string) any {
	found := value.FieldByName(name)
	if !found.IsValid() || !found.CanAddr() {
		return nil
	}
	// Sound: the address is that of a field of a live object, read as the type that the object declares.
	return reflect.NewAt(found.Type(), unsafe.Pointer(found.UnsafeAddr())).Elem().Interface()
}

// netstackSource reads from an endpoint of the network stack.
type netstackSource struct {
	endpoint tcpip.Endpoint
	queue    *waiter.Queue
	entry    waiter.Entry
	notified <-chan struct{}
	// closed ends a wait: closing an endpoint does not always notify.
	closed <-chan struct{}
}

func newNetstackSource(endpoint tcpip.Endpoint, queue *waiter.Queue, closed <-chan struct{}) *netstackSource {
	s := &netstackSource{endpoint: endpoint, queue: queue, closed: closed}
	s.entry, s.notified = waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	queue.EventRegister(&s.entry)
	return s
}

func (s *netstackSource) close() {
	s.queue.EventUnregister(&s.entry)
}

func (s *netstackSource) read(offset int) (*buffer, int, error) {
	for {
		taken := takeBuffer()
		into := tcpip.SliceWriter(taken[offset:])
		result, err := s.endpoint.Read(&into, tcpip.ReadOptions{})
		if err == nil {
			// Lets the receive window grow with what is read, as gVisor's own adapter does.
			s.endpoint.ModerateRecvBuf(result.Count)
			return taken, result.Count, nil
		}
		taken.giveBack()
		switch err.(type) {
		case *tcpip.ErrWouldBlock:
			select {
			case <-s.notified:
			case <-s.closed:
				return nil, 0, net.ErrClosed
			}
		case *tcpip.ErrClosedForReceive:
			// An endpoint tells of its error once. The other direction may have heard of it, by a write.
			if tcp.EndpointState(s.endpoint.State()) == tcp.StateError {
				return nil, 0, errReset
			}
			return nil, 0, io.EOF
		case *tcpip.ErrConnectionReset:
			return nil, 0, errReset
		case *tcpip.ErrConnectionRefused:
			return nil, 0, syscall.ECONNREFUSED
		default:
			return nil, 0, errors.New(err.String())
		}
	}
}

// resetConnection ends a connection of the network stack with a reset.
func resetConnection(endpoint tcpip.Endpoint) {
	endpoint.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: true})
	endpoint.Close()
}
