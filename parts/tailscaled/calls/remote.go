package calls

import (
	"net"

	"gvisor.dev/gvisor/pkg/tcpip"
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
