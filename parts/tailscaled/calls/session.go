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
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"tailscale.com/ipn/ipnlocal"
	"tailscale.com/ipn/localapi"
)

// upgradeProtocol is what a session's request asks to be upgraded to.
const upgradeProtocol = "tetherd-session"

// rightsTimeout is how long a client may take to send its channel after the upgrade.
const rightsTimeout = 5 * time.Second

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

// acceptChannel answers the upgrade and receives the channel: a socket of the type SOCK_SEQPACKET, sent with one byte.
func acceptChannel(conn net.Conn) (*net.UnixConn, error) {
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("the LocalAPI is not on a unix socket but on %T", conn)
	}
	_ = local.SetDeadline(time.Now().Add(rightsTimeout))
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: " + upgradeProtocol + "\r\n\r\n"
	if _, err := local.Write([]byte(head)); err != nil {
		return nil, err
	}
	oob := make([]byte, syscall.CmsgSpace(4))
	_, length, _, _, err := local.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	descriptor, err := descriptorIn(oob[:length])
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(descriptor), "tetherd session")
	defer file.Close()
	channel, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	if channel, ok := channel.(*net.UnixConn); ok {
		return channel, nil
	}
	_ = channel.Close()
	return nil, fmt.Errorf("the channel is no unix socket but %T", channel)
}

// descriptorIn takes the descriptor out of a control message.
func descriptorIn(oob []byte) (int, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return -1, errors.Join(errors.New("no descriptor came"), err)
	}
	descriptors, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(descriptors) != 1 {
		// Room for one is room for two, by the alignment of control messages.
		for _, descriptor := range descriptors {
			_ = syscall.Close(descriptor)
		}
		return -1, errors.Join(errors.New("one descriptor was expected"), err)
	}
	return descriptors[0], nil
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

// receive receives one message, with its descriptor or -1.
func (s *session) receive(datagram, oob []byte) (length, descriptor int, err error) {
	length, oobLength, flags, _, err := s.channel.ReadMsgUnix(datagram, oob)
	if err != nil {
		return 0, -1, err
	}
	descriptor = -1
	if oobLength > 0 {
		if descriptor, err = descriptorIn(oob[:oobLength]); err != nil {
			return 0, -1, err
		}
	}
	if flags&syscall.MSG_TRUNC != 0 {
		closeDescriptor(descriptor)
		return 0, -1, errors.New("message is too long")
	}
	return length, descriptor, nil
}

func closeDescriptor(descriptor int) {
	if descriptor >= 0 {
		_ = syscall.Close(descriptor)
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
	case associateMessage:
		// Without a socket tetherd's end of it is closed: it knows.
		_ = associate(s.ctx, s.dialer, descriptor)
	case drainMessage:
		limit, err := m.milliseconds()
		s.drain(limit)
		return err
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

// handOver begins the relay of a connection. Without a socket, which the kernel drops where tailscaled has no file left, the
// connection ends.
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
		return fmt.Errorf("no dial %d waits for a client", m.id)
	}
	client, err := newSocket(descriptor, "client")
	if err != nil {
		_ = target.Close()
		s.sendEnded(m.id, &connection{}, wasCut)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drainLimit > 0 {
		handed.limits.halfClosed = min(handed.limits.halfClosed, s.drainLimit)
	}
	s.beginToAttend()
	s.connections[m.id] = relay(client, target, handed, func(c *connection, first ending) {
		s.connectionEnded(m.id, c, first)
	})
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
	sent, received := c.sent.unreported(), c.received.unreported()
	answer := appendHead(make([]byte, 0, 40), endedMessage, id)
	for _, number := range []uint64{c.sent.all.Load(), c.received.all.Load(), sent, received} {
		answer = binary.LittleEndian.AppendUint64(answer, number)
	}
	s.send(append(answer, byte(first)))
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

func (s *session) resolve(id uint32, name string) {
	places, err := resolve(s.ctx, s.backend, name)
	answer := appendHead(make([]byte, 0, 64), namesMessage, id)
	if err != nil {
		outcome := outcomeOf(err)
		if errors.Is(err, errNoName) {
			outcome = nameUnknown
		}
		s.send(append(append(answer, byte(outcome)), err.Error()...))
		return
	}
	answer = append(answer, byte(connected))
	for _, place := range places {
		inside := byte(0)
		if place.inside {
			inside = 1
		}
		answer = appendIP(append(answer, inside), place.address)
	}
	s.send(answer)
}

func (s *session) drain(limit time.Duration) {
	s.mu.Lock()
	s.drainLimit = limit
	connections := slices.Collect(maps.Values(s.connections))
	s.mu.Unlock()
	for _, connection := range connections {
		connection.drain(limit)
	}
}

func (s *session) reportTraffic(id uint32) {
	var sent, received uint64
	s.mu.Lock()
	for _, connection := range s.connections {
		if connection.reported {
			sent += connection.sent.unreported()
			received += connection.received.unreported()
		}
	}
	s.mu.Unlock()
	answer := binary.LittleEndian.AppendUint64(appendHead(make([]byte, 0, 32), trafficMessageAnswer, id), sent)
	s.send(binary.LittleEndian.AppendUint64(answer, received))
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
