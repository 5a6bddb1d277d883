// A connection through the tailnet: how it is read, half-closed and flushed.

package calls

import (
	"net"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// remote is a connection through the tailnet.
type remote struct {
	net.Conn
	// endpoint is nil where the connection is none of the network stack's: tailscaled with a network interface of its own.
	endpoint tcpip.Endpoint
}

func newRemote(conn net.Conn) *remote {
	endpoint, _, _ := endpointOf(conn)
	return &remote{conn, endpoint}
}

// source reads from the connection until closed; release is to be called at the end.
func (r *remote) source(closed <-chan struct{}) (from source, release func(), err error) {
	from, release, err = sourceOf(r.Conn, closed)
	if system, ok := from.(*socketSource); ok {
		from = streamSource{system}
	}
	return from, release, err
}

// closeWrite tells the target that nothing more comes.
func (r *remote) closeWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// flushed waits until the target has taken in all that was sent before the connection was closed, for as long as its answers
// come: with the program all that waits to be sent would be gone, as it would not be in a kernel.
func (r *remote) flushed() {
	if r.endpoint == nil {
		return
	}
	before, since := r.segmentsReceived(), time.Now()
	for pause := time.Millisecond; r.isSending(); pause = min(2*pause, 50*time.Millisecond) {
		if now := r.segmentsReceived(); now != before {
			before, since = now, time.Now()
		} else if time.Since(since) > takeInLimit {
			return
		}
		time.Sleep(pause)
	}
}

// isSending tells whether bytes, or the end behind them, are not acknowledged yet.
func (r *remote) isSending() bool {
	switch tcp.EndpointState(r.endpoint.State()) {
	case tcp.StateEstablished, tcp.StateCloseWait, tcp.StateFinWait1, tcp.StateClosing, tcp.StateLastAck:
		return true
	}
	return false
}

// segmentsReceived counts what comes from the target, acknowledgements too.
func (r *remote) segmentsReceived() uint64 {
	if r.endpoint == nil {
		return 0
	}
	stats, ok := r.endpoint.Stats().(*tcp.Stats)
	if !ok {
		return 0
	}
	return stats.SegmentsReceived.Value()
}

// reset ends the connection with a reset.
func (r *remote) reset() {
	if r.endpoint != nil {
		resetConnection(r.endpoint)
		return
	}
	if lingering, ok := r.Conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = lingering.SetLinger(0)
	}
	_ = r.Close()
}
