package calls

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// client is the client's end of a socket: a *net.TCPConn or a *net.UnixConn.
type client interface {
	net.Conn
	CloseWrite() error
}

// relayed is a connection under test, with the ends that the client and the target have of it.
type relayed struct {
	*connection
	client client
	target *gonet.TCPConn
	over   chan ending
	ends   atomic.Int32
	totals totals
}

var longLimits = limits{halfClosed: time.Hour}

// startRelay relays between a socket of the kernel ("tcp" or "unix") and a connection of the stack.
func startRelay(t *testing.T, network string, handed handOver) *relayed {
	t.Helper()
	leavesNothing(t)
	dialled, accepted := pairInside(t)
	client, descriptor := socketPair(t, network)
	handedOver := must[*socket](t)(newSocket(descriptor, "client"))
	r := &relayed{client: client, target: accepted, over: make(chan ending, 2)}
	r.connection = relay(handedOver, newRemote(dialled), handed, &r.totals, func(_ *connection, why ending) {
		r.ends.Add(1)
		r.over <- why
	})
	t.Cleanup(func() { r.end(wasCut) })
	return r
}

// endsWith waits for the end, checks its reason, and that nothing comes after it.
func (r *relayed) endsWith(t *testing.T, want ending) {
	t.Helper()
	select {
	case why := <-r.over:
		if why != want {
			t.Errorf("the end is told as %d and not %d", why, want)
		}
	case <-time.After(patience):
		t.Fatalf("no end after %v", patience)
	}
	r.connection.mu.Lock()
	defer r.connection.mu.Unlock()
	if r.left != 0 || r.ends.Load() != 1 {
		t.Errorf("%d directions go on, the end was told %d times", r.left, r.ends.Load())
	}
	if r.timer != nil && r.timer.Stop() {
		t.Error("a timer keeps the connection in memory")
	}
}

// hasCarried checks the bytes counted.
func (r *relayed) hasCarried(t *testing.T, sent, received int) {
	t.Helper()
	if r.sent.own.Load() != uint64(sent) || r.received.own.Load() != uint64(received) {
		t.Errorf("%d bytes sent and not %d, %d received and not %d", r.sent.own.Load(), sent, r.received.own.Load(), received)
	}
}

// socketPair is a connection of the kernel's: one end, and the descriptor of the other.
func socketPair(t *testing.T, network string) (client, int) {
	t.Helper()
	if network == "unix" {
		return unixPair(t, syscall.SOCK_STREAM)
	}
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	dialer := net.Dialer{Control: shortBuffer}
	conn := must[net.Conn](t)(dialer.Dial("tcp", listener.Addr().String())).(*net.TCPConn)
	t.Cleanup(func() { _ = conn.Close() })
	accepted := must[net.Conn](t)(listener.Accept()).(*net.TCPConn)
	defer accepted.Close()
	return conn, copyOf(t, accepted)
}

// shortBuffer lets a client's kernel take in little that the client has not read.
func shortBuffer(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(descriptor uintptr) {
		_ = syscall.SetsockoptInt(int(descriptor), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10)
	})
}

func unixPair(t *testing.T, kind int) (*net.UnixConn, int) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(pair[0]), "client")
	defer file.Close()
	conn := must[net.Conn](t)(net.FileConn(file)).(*net.UnixConn)
	t.Cleanup(func() { _ = conn.Close() })
	return conn, pair[1]
}

// copyOf is one more descriptor of a socket.
func copyOf(t *testing.T, of syscall.Conn) (copied int) {
	t.Helper()
	raw := must[syscall.RawConn](t)(of.SyscallConn())
	var err error
	_ = raw.Control(func(descriptor uintptr) { copied, err = unix.FcntlInt(descriptor, unix.F_DUPFD_CLOEXEC, 0) })
	return must[int](t)(copied, err)
}

// send writes text to one end.
func send(t *testing.T, to net.Conn, text string) {
	t.Helper()
	_ = to.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(to, text); err != nil {
		t.Fatal(err)
	}
}

// arrives reads text from one end.
func arrives(t *testing.T, from net.Conn, text string) {
	t.Helper()
	_ = from.SetReadDeadline(time.Now().Add(patience))
	read := make([]byte, len(text))
	if length, err := io.ReadFull(from, read); err != nil || string(read) != text {
		t.Fatalf("%d bytes of %d came, %v", length, len(text), err)
	}
}

// endArrives reads the end from one end.
func endArrives(t *testing.T, from net.Conn) {
	t.Helper()
	_ = from.SetReadDeadline(time.Now().Add(patience))
	if length, err := from.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("instead of the end: %d bytes, %v", length, err)
	}
}

// resetArrives reads from one end until it is reset, and counts what came before.
func resetArrives(t *testing.T, from net.Conn) int64 {
	t.Helper()
	_ = from.SetReadDeadline(time.Now().Add(patience))
	length, err := io.Copy(io.Discard, from)
	if err == nil || !(errors.Is(err, syscall.ECONNRESET) || strings.Contains(err.Error(), "connection reset by peer")) {
		t.Fatalf("instead of a reset: %v, after %d bytes", err, length)
	}
	return length
}
