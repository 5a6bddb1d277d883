package calls

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// tetherd is the other end of a session's channel.
type tetherd struct {
	*session
	channel *net.UnixConn
	served  chan struct{}
}

// openSession serves a session that dials by the stack of the tests.
func openSession(t *testing.T, dialer dialFunc) *tetherd {
	t.Helper()
	leavesNothing(t)
	channel, descriptor := unixPair(t, syscall.SOCK_SEQPACKET)
	served := must[*net.UnixConn](t)(connOf(descriptor))
	opened := &tetherd{session: newSession(nil, served), channel: channel, served: make(chan struct{})}
	opened.dialer = dialer
	go func() {
		defer close(opened.served)
		opened.serve()
	}()
	t.Cleanup(func() {
		_ = channel.Close()
		opened.ends(t)
	})
	return opened
}

// ends waits for the session's end.
func (d *tetherd) ends(t *testing.T) {
	t.Helper()
	select {
	case <-d.served:
	case <-time.After(patience):
		t.Fatal("the session goes on")
	}
}

// tell sends one message, with descriptors.
func (d *tetherd) tell(t *testing.T, kind byte, id uint32, body []byte, descriptors ...int) {
	t.Helper()
	var oob []byte
	if len(descriptors) > 0 {
		oob = syscall.UnixRights(descriptors...)
	}
	if _, _, err := d.channel.WriteMsgUnix(append(appendHead(nil, kind, id), body...), oob, nil); err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range descriptors {
		_ = syscall.Close(descriptor)
	}
}

// hears receives one message of a kind and an id.
func (d *tetherd) hears(t *testing.T, kind byte, id uint32) []byte {
	t.Helper()
	_ = d.channel.SetReadDeadline(time.Now().Add(patience))
	datagram := make([]byte, 4096)
	length, err := d.channel.Read(datagram)
	if err != nil {
		t.Fatalf("instead of %q for %d: %v", kind, id, err)
	}
	heard, m, err := parse(datagram[:length])
	if err != nil || heard != kind || m.id != id {
		t.Fatalf("instead of %q for %d: %q for %d, %v", kind, id, heard, m.id, err)
	}
	return m.body
}

func (d *tetherd) hasNoMore(t *testing.T) {
	t.Helper()
	d.session.mu.Lock()
	defer d.session.mu.Unlock()
	if len(d.dials)+len(d.dialled)+len(d.connections) != 0 {
		t.Errorf("left: %d dials, %d dialled, %d connections", len(d.dials), len(d.dialled), len(d.connections))
	}
}

func inMilliseconds(duration time.Duration) []byte {
	return binary.LittleEndian.AppendUint32(nil, uint32(duration.Milliseconds()))
}

func handOverBody(limits limits, reported byte, ahead string) []byte {
	body := append(inMilliseconds(limits.halfClosed), inMilliseconds(limits.idle)...)
	return append(append(body, reported), ahead...)
}

// connect dials by the session, and returns the target's end.
func (d *tetherd) connect(t *testing.T, id uint32) *gonet.TCPConn {
	t.Helper()
	listener, address := listenInside(t)
	d.tell(t, dialMessage, id, appendAddress(nil, address))
	answer := d.hears(t, outcomeMessage, id)
	target := must[net.Conn](t)(listener.Accept()).(*gonet.TCPConn)
	t.Cleanup(func() { _ = target.Close() })
	if answer[0] != byte(connected) || readAddress(answer[1:]).String() != target.RemoteAddr().String() {
		t.Fatalf("answered with %v", answer)
	}
	return target
}

// hand hands a client over to a dial that is connected.
func (d *tetherd) hand(t *testing.T, id uint32, ahead string) client {
	t.Helper()
	client, descriptor := socketPair(t, "tcp")
	d.tell(t, handOverMessage, id, handOverBody(longLimits, 1, ahead), descriptor)
	return client
}

// hasEnded reads the report of a connection's end.
func (d *tetherd) hasEnded(t *testing.T, id uint32, numbers [4]uint64, why ending) {
	t.Helper()
	report := d.hears(t, endedMessage, id)
	var read [4]uint64
	for i := range read {
		read[i] = binary.LittleEndian.Uint64(report[8*i:])
	}
	if read != numbers || len(report) != 33 || ending(report[32]) != why {
		t.Errorf("ended with %v, %v; not with %v, %d", read, report[32:], numbers, why)
	}
}

func TestAConnectionOfASession(t *testing.T) {
	d := openSession(t, dialStack)
	target := d.connect(t, 7)
	client := d.hand(t, 7, "ahead ")
	send(t, client, "hello")
	arrives(t, target, "ahead hello")
	send(t, target, "answer")
	arrives(t, client, "answer")
	connection := d.only(t)
	waitFor(t, "all is counted", func() bool { return connection.carried() == 17 })
	d.tell(t, trafficMessage, 9, nil)
	traffic := d.hears(t, trafficMessageAnswer, 9)
	if sent, received := binary.LittleEndian.Uint64(traffic), binary.LittleEndian.Uint64(traffic[8:]); sent != 11 || received != 6 {
		t.Errorf("%d bytes sent, %d received", sent, received)
	}
	send(t, client, "bye")
	_ = client.Close()
	arrives(t, target, "bye")
	endArrives(t, target)
	_ = target.Close()
	d.hasEnded(t, 7, [4]uint64{14, 6, 14, 6}, clientEnded)
	d.hasNoMore(t)
}

// only returns the one connection of the session.
func (d *tetherd) only(t *testing.T) (found *connection) {
	t.Helper()
	waitFor(t, "the client is handed over", func() bool {
		d.session.mu.Lock()
		defer d.session.mu.Unlock()
		for _, found = range d.connections {
		}
		return found != nil
	})
	return found
}

func TestBytesThatTetherdCountsAreNotReported(t *testing.T) {
	d := openSession(t, dialStack)
	target := d.connect(t, 7)
	client, descriptor := socketPair(t, "unix")
	d.tell(t, handOverMessage, 7, handOverBody(longLimits, 0, ""), descriptor)
	send(t, client, "hello")
	arrives(t, target, "hello")
	connection := d.only(t)
	waitFor(t, "all is counted", func() bool { return connection.carried() == 5 })
	d.tell(t, trafficMessage, 9, nil)
	if traffic := d.hears(t, trafficMessageAnswer, 9); binary.LittleEndian.Uint64(traffic) != 0 {
		t.Errorf("reported: %v", traffic)
	}
}

func TestDialsThatFailAreAnswered(t *testing.T) {
	d := openSession(t, func(ctx context.Context, network string, address netip.AddrPort) (net.Conn, outcome, error) {
		if address.Addr() == stackV4 {
			return dialStack(ctx, network, address)
		}
		return nil, direct, nil
	})
	d.tell(t, dialMessage, 1, appendAddress(nil, netip.AddrPortFrom(stackV4, freePort())))
	if answer := d.hears(t, outcomeMessage, 1); answer[0] != byte(refused) || !strings.Contains(string(answer[1:]), "refused") {
		t.Errorf("nobody listens: %q", answer)
	}
	d.tell(t, dialMessage, 2, appendAddress(nil, netip.MustParseAddrPort("192.0.2.1:80")))
	if answer := d.hears(t, outcomeMessage, 2); len(answer) != 1 || answer[0] != byte(direct) {
		t.Errorf("outside: %q", answer)
	}
	d.hasNoMore(t)
}

func TestCutsEndWhatTheyName(t *testing.T) {
	given := make(chan struct{})
	d := openSession(t, func(ctx context.Context, network string, address netip.AddrPort) (net.Conn, outcome, error) {
		if address.Addr() == stackV4 {
			return dialStack(ctx, network, address)
		}
		<-ctx.Done()
		close(given)
		// As if it had been connected in the same moment.
		return dialStack(context.Background(), network, netip.AddrPortFrom(stackV4, address.Port()))
	})
	listener, address := listenInside(t)
	d.tell(t, dialMessage, 1, appendAddress(nil, netip.AddrPortFrom(stackV6, address.Port())))
	d.tell(t, cutMessage, 1, nil)
	<-given
	late := must[net.Conn](t)(listener.Accept())
	defer late.Close()
	endArrives(t, late)

	waiting := d.connect(t, 2)
	d.tell(t, cutMessage, 2, nil)
	endArrives(t, waiting)

	target := d.connect(t, 3)
	client := d.hand(t, 3, "")
	send(t, client, "hello")
	arrives(t, target, "hello")
	d.tell(t, cutMessage, 3, nil)
	resetArrives(t, target)
	resetArrives(t, client)
	d.hasEnded(t, 3, [4]uint64{5, 0, 5, 0}, wasCut)

	target = d.connect(t, 4)
	client = d.hand(t, 4, "")
	d.tell(t, cutAllMessage, 0, nil)
	resetArrives(t, target)
	resetArrives(t, client)
	d.hasEnded(t, 4, [4]uint64{0, 0, 5, 0}, wasCut)
	d.tell(t, cutMessage, 99, nil)
	d.hasNoMore(t)
}

func TestADrainedSessionShortensHalfClosedConnections(t *testing.T) {
	d := openSession(t, dialStack)
	old := d.connect(t, 1)
	client := d.hand(t, 1, "")
	_ = client.CloseWrite()
	endArrives(t, old)
	d.tell(t, drainMessage, 0, inMilliseconds(shortLimit))
	d.hasEnded(t, 1, [4]uint64{}, wasSilent)
	fresh := d.connect(t, 2)
	client = d.hand(t, 2, "")
	_ = client.CloseWrite()
	endArrives(t, fresh)
	d.hasEnded(t, 2, [4]uint64{}, wasSilent)
}

func TestTheMemoryLimitIsSet(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	d := openSession(t, dialStack)
	for told, want := range map[uint64]int64{1 << 40: 1 << 40, math.MaxUint64: math.MaxInt64} {
		d.tell(t, memoryMessage, 0, binary.LittleEndian.AppendUint64(nil, told))
		waitFor(t, "the limit is set", func() bool { return debug.SetMemoryLimit(-1) == want })
	}
}
