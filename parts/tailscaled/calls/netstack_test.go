package calls

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

func TestTheEndpointBehindAConnectionOfTheStackIsFound(t *testing.T) {
	dialled, accepted := pairInside(t)
	datagrams, _, err := dialStack(context.Background(), "udp", netip.AddrPortFrom(stackV6, freePort()))
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	for _, conn := range []net.Conn{dialled, accepted, datagrams} {
		endpoint, queue, err := endpointOf(conn)
		if err != nil {
			t.Fatalf("%T: %v", conn, err)
		}
		found := must[tcpip.FullAddress](t)(addressOf(endpoint))
		if queue == nil || found.Port == 0 || conn.LocalAddr().String() != textOf(found) {
			t.Errorf("%T at %v: endpoint at %v, queue %v", conn, conn.LocalAddr(), found, queue)
		}
	}
}

func addressOf(endpoint tcpip.Endpoint) (tcpip.FullAddress, error) {
	address, err := endpoint.GetLocalAddress()
	if err != nil {
		return address, errors.New(err.String())
	}
	return address, nil
}

func textOf(address tcpip.FullAddress) string {
	ip, _ := netip.AddrFromSlice(address.Addr.AsSlice())
	return netip.AddrPortFrom(ip, address.Port).String()
}

func TestOtherConnectionsHaveNoEndpoint(t *testing.T) {
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if _, _, err := endpointOf(one); !errors.Is(err, errNotNetstack) {
		t.Errorf("a pipe: %v", err)
	}
}

// readsFrom reads from one end of a connection of the stack until the test ends.
func readsFrom(t *testing.T, conn *gonet.TCPConn, closed <-chan struct{}) source {
	t.Helper()
	endpoint, queue, err := endpointOf(conn)
	if err != nil {
		t.Fatal(err)
	}
	from := newNetstackSource(endpoint, queue, closed)
	t.Cleanup(from.close)
	return from
}

func TestBytesAndTheEndAreReadFromTheStack(t *testing.T) {
	dialled, accepted := pairInside(t)
	from := readsFrom(t, dialled, nil)
	go func() {
		_, _ = accepted.Write([]byte("hello"))
		_ = accepted.CloseWrite()
	}()
	taken, length, err := from.read(3)
	if err != nil || string(taken[3:3+length]) != "hello" {
		t.Fatalf("%d bytes, %v", length, err)
	}
	taken.giveBack()
	if _, _, err := from.read(0); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestAResetIsReadFromTheStackAfterTheBytesBeforeIt(t *testing.T) {
	dialled, accepted := pairInside(t)
	from := readsFrom(t, dialled, nil)
	must[int](t)(accepted.Write([]byte("hello")))
	resetEnd(t, accepted)
	taken, length, err := from.read(0)
	if err != nil || string(taken[:length]) != "hello" {
		t.Fatalf("%d bytes, %v", length, err)
	}
	taken.giveBack()
	if _, _, err := from.read(0); !errors.Is(err, errReset) {
		t.Errorf("after the reset: %v", err)
	}
}

func TestAResetThatAWriteHasHeardOfIsNoCleanEnd(t *testing.T) {
	dialled, accepted := pairInside(t)
	from := readsFrom(t, dialled, nil)
	resetEnd(t, accepted)
	waitFor(t, "a write tells of the reset", func() bool {
		_, err := dialled.Write([]byte("x"))
		return err != nil
	})
	if _, _, err := from.read(0); !errors.Is(err, errReset) {
		t.Errorf("after the reset: %v", err)
	}
}

func TestAWaitForTheStackEndsWithTheConnection(t *testing.T) {
	dialled, _ := pairInside(t)
	closed := make(chan struct{})
	from := readsFrom(t, dialled, closed)
	close(closed)
	if _, _, err := from.read(0); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestARefusedDatagramIsReadAsSuch(t *testing.T) {
	conn, _, err := dialStack(context.Background(), "udp", netip.AddrPortFrom(stackV4, freePort()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	from, release, err := sourceOf(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	must[int](t)(conn.Write([]byte("x")))
	if _, _, err := from.read(0); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}

// resetEnd resets one end of a connection of the stack.
func resetEnd(t *testing.T, conn *gonet.TCPConn) {
	t.Helper()
	endpoint, _, err := endpointOf(conn)
	if err != nil {
		t.Fatal(err)
	}
	resetConnection(endpoint)
}
