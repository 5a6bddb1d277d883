// Serves a session: the dials, connections and look-ups of one tetherd.

package calls

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"tailscale.com/ipn/ipnlocal"
	"tailscale.com/ipn/localapi"
)

// upgradeProtocol is what a session's request asks to be upgraded to.
const upgradeProtocol = "tetherd-session"

// session serves one tetherd: all its dials, connections and lookups, over one channel of messages. A channel and not a
// request for each dial: that would be a parsed head, a look at who asks, a descriptor and two goroutines for each.
type session struct {
	backend *ipnlocal.LocalBackend
	dialer  dialFunc
	channel *net.UnixConn
	ctx     context.Context

	mu sync.Mutex
	// dials are under way; each is given up by its function.
	dials map[uint32]context.CancelFunc
	// dialled wait for their client's socket.
	dialled     map[uint32]*remote
	connections map[uint32]*connection
	totals      totals
	// drainLimit shortens half-closed connections from when tetherd drains; 0 until then.
	drainLimit time.Duration
	// carriedByEnded is what connections have carried that have ended.
	carriedByEnded uint64
	// attends: attend runs. trimmedTo is its own: the memory that was left when it gave some back last, in bytes.
	attends   bool
	trimmedTo uint64
}

// serveSession upgrades the request, takes the channel's descriptor and serves it until tetherd closes it.
func serveSession(h *localapi.Handler, w http.ResponseWriter, r *http.Request) {
	if !h.PermitWrite {
		http.Error(w, "writing is not permitted", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodPost || r.Header.Get("Upgrade") != upgradeProtocol {
		http.Error(w, "a POST is needed that upgrades to "+upgradeProtocol, http.StatusBadRequest)
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "make the request over HTTP/1", http.StatusBadRequest)
		return
	}
	// The head is written by hand: with WriteHeader first, net/http reads ahead and may swallow the descriptor.
	conn, _, err := hijacker.Hijack()
	if err != nil {
		h.Logf("tetherd session: %v", err)
		return
	}
	channel, err := acceptChannel(conn)
	_ = conn.Close()
	if err != nil {
		h.Logf("tetherd session: %v", err)
		return
	}
	// In a goroutine of its own: that of the request holds its head and its buffers.
	go newSession(h.LocalBackend(), channel).serve()
}

func newSession(backend *ipnlocal.LocalBackend, channel *net.UnixConn) *session {
	return &session{
		backend:     backend,
		dialer:      dialerOf(backend),
		channel:     channel,
		dials:       map[uint32]context.CancelFunc{},
		dialled:     map[uint32]*remote{},
		connections: map[uint32]*connection{},
	}
}

// serve reads messages until the channel ends, and then ends all that it has begun.
func (s *session) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	defer s.close(cancel)
	s.ctx = ctx
	datagram, oob := make([]byte, largestMessage), make([]byte, syscall.CmsgSpace(4))
	for {
		length, descriptor, err := s.receive(datagram, oob)
		if err != nil {
			return
		}
		kind, m, err := parse(datagram[:length])
		if err == nil {
			err = s.handle(kind, m, descriptor)
		} else {
			closeDescriptor(descriptor)
		}
		if err != nil {
			// Somebody speaks another version: nothing that follows could be trusted.
			return
		}
	}
}

// handle serves one message. m.body is overwritten by the next one.
func (s *session) handle(kind byte, m message, descriptor int) error {
	if kind != handOverMessage && kind != associateMessage {
		closeDescriptor(descriptor)
	}
	switch kind {
	case dialMessage:
		return s.dial(m)
	case handOverMessage:
		return s.handOver(m, descriptor)
	case cutMessage:
		s.cut(m.id)
	case resolveMessage:
		go s.resolve(m.id, string(m.body))
	case queryMessage:
		question, err := m.query()
		if err == nil {
			go s.query(m.id, question)
		}
		return err
	case associateMessage:
		// Without a socket tetherd's end of it is closed: it knows.
		_ = associate(s.ctx, s.dialer, descriptor)
	case drainMessage:
		limit, err := m.milliseconds()
		if err == nil {
			s.drain(limit)
		}
		return err
	case cutAllMessage:
		for _, connection := range s.all() {
			connection.end(wasCut)
		}
	case memoryMessage:
		limit, err := m.number()
		if err == nil {
			setMemoryLimit(limit)
		}
		return err
	case trafficMessage:
		s.reportTraffic(m.id)
	default:
		return fmt.Errorf("unknown message %q", kind)
	}
	return nil
}

func (s *session) dial(m message) error {
	address, err := m.address()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	s.dials[m.id] = cancel
	s.mu.Unlock()
	go func() {
		defer cancel()
		conn, outcome, err := s.dialer(ctx, "tcp", address)
		s.dialEnded(m.id, conn, outcome, err)
	}()
	return nil
}

// dialEnded answers a dial, unless it was given up meanwhile.
func (s *session) dialEnded(id uint32, conn net.Conn, outcome outcome, err error) {
	s.mu.Lock()
	_, wanted := s.dials[id]
	delete(s.dials, id)
	if wanted && conn != nil {
		s.dialled[id] = newRemote(conn)
	}
	s.mu.Unlock()
	if !wanted {
		if conn != nil {
			_ = conn.Close()
		}
		return
	}
	answer := append(appendHead(make([]byte, 0, 64), outcomeMessage, id), byte(outcome))
	if conn != nil {
		answer = appendAddress(answer, ownAddress(conn))
	} else if err != nil {
		answer = append(answer, err.Error()...)
	}
	s.send(answer)
}

// ownAddress is this end of a connection.
func ownAddress(conn net.Conn) netip.AddrPort {
	if address, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		own := address.AddrPort()
		return netip.AddrPortFrom(own.Addr().Unmap(), own.Port())
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// handOver begins the relay of a connection. It ends at once without a dial that waits, and without a socket, which the kernel
// drops where tailscaled has no file left: one connection is no reason to end them all.
func (s *session) handOver(m message, descriptor int) error {
	handed, err := m.handOver()
	if err != nil {
		closeDescriptor(descriptor)
		return err
	}
	s.mu.Lock()
	target := s.dialled[m.id]
	delete(s.dialled, m.id)
	s.mu.Unlock()
	if target == nil {
		closeDescriptor(descriptor)
		s.sendEnded(m.id, &connection{}, wasCut)
		return nil
	}
	client, err := newSocket(descriptor, "client")
	if err != nil {
		_ = target.Close()
		s.sendEnded(m.id, &connection{}, wasCut)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginToAttend()
	begun := relay(client, target, handed, &s.totals, func(c *connection, first ending) {
		s.connectionEnded(m.id, c, first)
	})
	s.connections[m.id] = begun
	if s.drainLimit > 0 {
		begun.drain(s.drainLimit)
	}
	return nil
}

func (s *session) connectionEnded(id uint32, c *connection, first ending) {
	s.mu.Lock()
	delete(s.connections, id)
	s.carriedByEnded += c.carried()
	s.mu.Unlock()
	s.sendEnded(id, c, first)
}

func (s *session) sendEnded(id uint32, c *connection, first ending) {
	answer := appendHead(make([]byte, 0, 40), endedMessage, id)
	answer = binary.LittleEndian.AppendUint64(answer, c.sent.own.Load())
	answer = binary.LittleEndian.AppendUint64(answer, c.received.own.Load())
	s.send(append(s.appendTotals(answer), byte(first)))
}

func (s *session) appendTotals(to []byte) []byte {
	to = binary.LittleEndian.AppendUint64(to, s.totals.sent.Load())
	return binary.LittleEndian.AppendUint64(to, s.totals.received.Load())
}

func (s *session) cut(id uint32) {
	s.mu.Lock()
	cancel, target, connection := s.dials[id], s.dialled[id], s.connections[id]
	delete(s.dials, id)
	delete(s.dialled, id)
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if target != nil {
		_ = target.Close()
	}
	if connection != nil {
		connection.end(wasCut)
	}
}

// resolve answers a lookup. Whatever goes wrong with it, a name server that is silent or at fault too, the name is not known.
func (s *session) resolve(id uint32, name string) {
	answer := appendHead(make([]byte, 0, 64), namesMessage, id)
	found, err := resolve(s.ctx, s.backend, name)
	var whole []byte
	if err == nil {
		whole, err = appendFound(answer, found, places(s.backend, found.addresses))
	}
	if err == nil {
		s.send(whole)
		return
	}
	outcome := nameUnknown
	if errors.Is(err, errNotReady) {
		outcome = notReady
	}
	s.send(append(append(answer, byte(outcome)), err.Error()...))
}

func (s *session) drain(limit time.Duration) {
	s.mu.Lock()
	s.drainLimit = limit
	s.mu.Unlock()
	for _, connection := range s.all() {
		connection.drain(limit)
	}
}

// all are the connections of now.
func (s *session) all() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.connections))
}

func (s *session) reportTraffic(id uint32) {
	s.send(s.appendTotals(appendHead(make([]byte, 0, 32), trafficMessageAnswer, id)))
}

// send sends one message; one that cannot be sent is of no use to anybody, since the channel has ended.
func (s *session) send(message []byte) {
	_, _ = s.channel.Write(message)
}

func (s *session) close(cancel context.CancelFunc) {
	cancel()
	_ = s.channel.Close()
	s.mu.Lock()
	dialled, connections := s.dialled, s.connections
	s.dials, s.dialled, s.connections = map[uint32]context.CancelFunc{}, map[uint32]*remote{}, map[uint32]*connection{}
	s.mu.Unlock()
	for _, target := range dialled {
		_ = target.Close()
	}
	for _, connection := range connections {
		connection.end(wasCut)
	}
}
