package calls

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// openAssociation carries datagrams of a client whose end it returns.
func openAssociation(t *testing.T, ctx context.Context) *net.UnixConn {
	t.Helper()
	leavesNothing(t)
	client, descriptor := unixPair(t, syscall.SOCK_SEQPACKET)
	_ = client.SetWriteBuffer(1 << 20)
	if err := associate(ctx, dialStack, descriptor); err != nil {
		t.Fatal(err)
	}
	return client
}

func sendTo(t *testing.T, client *net.UnixConn, way byte, address netip.AddrPort, payload []byte) {
	t.Helper()
	must[int](t)(client.Write(append(appendAddress([]byte{way}, address), payload...)))
}

// comesFrom receives one datagram and checks where it comes from.
func comesFrom(t *testing.T, client *net.UnixConn, address netip.AddrPort, payload []byte) {
	t.Helper()
	_ = client.SetReadDeadline(time.Now().Add(patience))
	datagram := make([]byte, bufferSize)
	length := must[int](t)(client.Read(datagram))
	if from := readAddress(datagram); from != address || !bytes.Equal(datagram[datagramHead:length], payload) {
		t.Fatalf("%d bytes from %v, not %d from %v", length-datagramHead, from, len(payload), address)
	}
}

// echo sends each datagram back, until the test ends.
func echo(t *testing.T, conn net.PacketConn) {
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		datagram := make([]byte, bufferSize)
		for {
			length, from, err := conn.ReadFrom(datagram)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(datagram[:length], from)
		}
	}()
}

func echoInside(t *testing.T) netip.AddrPort {
	t.Helper()
	address := netip.AddrPortFrom(stackV4, freePort())
	echoAt(t, address)
	return address
}

func echoAt(t *testing.T, address netip.AddrPort) {
	t.Helper()
	at := fullAddress(address)
	conn, err := gonet.DialUDP(testStack(), &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	// The stack's Close does not end a read that waits.
	t.Cleanup(func() { _ = conn.SetReadDeadline(time.Now()) })
	echo(t, conn)
}

func echoOutside(t *testing.T, at string) netip.AddrPort {
	t.Helper()
	conn := must[net.PacketConn](t)(net.ListenPacket("udp", at))
	echo(t, conn)
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestDatagramsGoBothWays(t *testing.T) {
	client := openAssociation(t, t.Context())
	targets := map[netip.AddrPort]byte{
		echoInside(t): byTailnet, echoInside(t): byTailnet,
		echoOutside(t, "127.0.0.1:0"): byContainer, echoOutside(t, "127.0.0.1:0"): byContainer,
	}
	for range 2 {
		for address, way := range targets {
			for _, payload := range [][]byte{{}, []byte("x"), []byte(mebibyte[:1400]), []byte(mebibyte[:60000])} {
				sendTo(t, client, way, address, payload)
				comesFrom(t, client, address, payload)
			}
		}
	}
	// Too short for an address: nothing happens.
	must[int](t)(client.Write(make([]byte, datagramHead)))
	for address, way := range targets {
		sendTo(t, client, way, address, []byte("still here"))
		comesFrom(t, client, address, []byte("still here"))
	}
}

func TestTheTargetsOfAnAssociationAreBounded(t *testing.T) {
	client := openAssociation(t, t.Context())
	before := openDescriptors(t)
	address := echoOutside(t, "127.0.0.1:0")
	sendTo(t, client, byContainer, address, []byte("first"))
	comesFrom(t, client, address, []byte("first"))
	silent := must[net.PacketConn](t)(net.ListenPacket("udp", "0.0.0.0:0"))
	defer silent.Close()
	port := silent.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	for i := range 300 {
		other := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1 + byte(i/200), 1 + byte(i%200)}), port)
		sendTo(t, client, byContainer, other, []byte("hello"))
	}
	for range 300 {
		_ = silent.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := silent.ReadFrom(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	// Two for the listeners.
	waitFor(t, "256 targets are open", func() bool { return openDescriptors(t) == before+2+mostTargets })
	sendTo(t, client, byContainer, address, []byte("again"))
	comesFrom(t, client, address, []byte("again"))
}

func TestATargetThatIsNotThereMayComeLater(t *testing.T) {
	t.Run("tailnet", func(t *testing.T) {
		address := netip.AddrPortFrom(stackV4, freePort())
		laterThere(t, byTailnet, address, func() { echoAt(t, address) })
	})
	t.Run("container", func(t *testing.T) {
		listener := must[net.PacketConn](t)(net.ListenPacket("udp", "127.0.0.1:0"))
		address := listener.LocalAddr().(*net.UDPAddr).AddrPort()
		_ = listener.Close()
		laterThere(t, byContainer, address, func() { echoOutside(t, address.String()) })
	})
}

func laterThere(t *testing.T, way byte, address netip.AddrPort, open func()) {
	t.Helper()
	client := openAssociation(t, t.Context())
	sendTo(t, client, way, address, []byte("too early"))
	sendTo(t, client, way, address, []byte("too early"))
	before := cpuTime(t)
	time.Sleep(200 * time.Millisecond)
	if took := cpuTime(t) - before; took > 100*time.Millisecond {
		t.Errorf("%v of processor time while nothing happens", took)
	}
	open()
	sendTo(t, client, way, address, []byte("now"))
	comesFrom(t, client, address, []byte("now"))
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func TestAnAssociationEndsWithItsClient(t *testing.T) {
	client := openAssociation(t, context.Background())
	address := echoInside(t)
	sendTo(t, client, byTailnet, address, []byte("hello"))
	comesFrom(t, client, address, []byte("hello"))
	_ = client.Close()
}

func TestAnAssociationEndsWithItsSession(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	client := openAssociation(t, ctx)
	address := echoOutside(t, "127.0.0.1:0")
	sendTo(t, client, byContainer, address, []byte("hello"))
	comesFrom(t, client, address, []byte("hello"))
	cancel()
	endArrives(t, client)
}

func TestATargetThatIsDialledAtTheEndIsClosed(t *testing.T) {
	leavesNothing(t)
	ctx, cancel := context.WithCancel(context.Background())
	client, descriptor := unixPair(t, syscall.SOCK_SEQPACKET)
	dials, goOn := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context, network string, address netip.AddrPort) (net.Conn, outcome, error) {
		close(dials)
		<-goOn
		return dialStack(ctx, network, address)
	}
	if err := associate(ctx, slow, descriptor); err != nil {
		t.Fatal(err)
	}
	sendTo(t, client, byTailnet, echoInside(t), []byte("hello"))
	<-dials
	cancel()
	endArrives(t, client)
	close(goOn)
}

func TestATargetThatReceivesNothingAnyMoreIsOpenedAnew(t *testing.T) {
	leavesNothing(t)
	client, descriptor := unixPair(t, syscall.SOCK_SEQPACKET)
	dials := make(chan struct{}, 2)
	// Nothing can be received from a pipe, since it is no socket.
	pipes := func(context.Context, string, netip.AddrPort) (net.Conn, outcome, error) {
		dials <- struct{}{}
		conn, _ := net.Pipe()
		return conn, connected, nil
	}
	if err := associate(t.Context(), pipes, descriptor); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		sendTo(t, client, byTailnet, netip.AddrPortFrom(stackV4, 1), []byte("hello"))
		select {
		case <-dials:
		case <-time.After(patience):
			t.Fatal("not dialled")
		}
	}
}
