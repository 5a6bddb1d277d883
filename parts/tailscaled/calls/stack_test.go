package calls

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// loopback is a link that hands every packet back.
type loopback struct {
	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
}

func (l *loopback) Attach(dispatcher stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = dispatcher
}

func (l *loopback) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	l.mu.RLock()
	dispatcher := l.dispatcher
	l.mu.RUnlock()
	for _, packet := range packets.AsSlice() {
		back := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: packet.ToBuffer()})
		dispatcher.DeliverNetworkPacket(packet.NetworkProtocolNumber, back)
		back.DecRef()
	}
	return packets.Len(), nil
}

// Capabilities leaves checksums out.
func (*loopback) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityLoopback | stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
}

func (l *loopback) IsAttached() bool                      { return true }
func (*loopback) MTU() uint32                             { return 65536 }
func (*loopback) SetMTU(uint32)                           {}
func (*loopback) MaxHeaderLength() uint16                 { return 0 }
func (*loopback) LinkAddress() tcpip.LinkAddress          { return "" }
func (*loopback) SetLinkAddress(tcpip.LinkAddress)        {}
func (*loopback) Wait()                                   {}
func (*loopback) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareLoopback }
func (*loopback) AddHeader(*stack.PacketBuffer)           {}
func (*loopback) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (*loopback) Close()                                  {}
func (*loopback) SetOnCloseAction(func())                 {}

// Addresses of the stack of the tests.
var (
	stackV4 = netip.MustParseAddr("100.64.0.1")
	stackV6 = netip.MustParseAddr("fd7a:115c:a1e0::1")
)

// testStack is a network stack like tailscaled's, connected with itself. It is never closed.
var testStack = sync.OnceValue(func() *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	if err := s.CreateNIC(1, &loopback{}); err != nil {
		panic(err)
	}
	for _, address := range []netip.Addr{stackV4, stackV6} {
		protocol := tcpip.ProtocolAddress{Protocol: protocolOf(address), AddressWithPrefix: stackAddress(address).WithPrefix()}
		if err := s.AddProtocolAddress(1, protocol, stack.AddressProperties{}); err != nil {
			panic(err)
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}, {Destination: header.IPv6EmptySubnet, NIC: 1}})
	return s
})

func protocolOf(address netip.Addr) tcpip.NetworkProtocolNumber {
	if address.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func stackAddress(address netip.Addr) tcpip.Address {
	return tcpip.AddrFromSlice(address.AsSlice())
}

func fullAddress(address netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: 1, Addr: stackAddress(address.Addr()), Port: address.Port()}
}

var lastPort atomic.Uint32

// freePort is a port of the stack that nobody has used.
func freePort() uint16 {
	return uint16(10000 + lastPort.Add(1))
}

// listenInside listens in the stack until the test ends.
func listenInside(t *testing.T) (*gonet.TCPListener, netip.AddrPort) {
	t.Helper()
	address := netip.AddrPortFrom(stackV4, freePort())
	listener := must[*gonet.TCPListener](t)(gonet.ListenTCP(testStack(), fullAddress(address), ipv4.ProtocolNumber))
	t.Cleanup(func() { _ = listener.Close() })
	return listener, address
}

// dialStack dials in the stack, as tailscaled's dialer does in its own.
func dialStack(ctx context.Context, network string, address netip.AddrPort) (net.Conn, outcome, error) {
	if network == "udp" {
		to := fullAddress(address)
		conn, err := gonet.DialUDP(testStack(), nil, &to, protocolOf(address.Addr()))
		if err != nil {
			return nil, outcomeOf(err), err
		}
		return conn, connected, nil
	}
	conn, err := gonet.DialContextTCP(ctx, testStack(), fullAddress(address), protocolOf(address.Addr()))
	if err != nil {
		return nil, outcomeOf(err), err
	}
	return conn, connected, nil
}

// pairInside is a connection within the stack: the end that dialled, and the one that accepted.
func pairInside(t *testing.T) (dialled, accepted *gonet.TCPConn) {
	t.Helper()
	listener, address := listenInside(t)
	conn, _, err := dialStack(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	other := must[net.Conn](t)(listener.Accept())
	t.Cleanup(func() {
		_ = conn.Close()
		_ = other.Close()
	})
	return conn.(*gonet.TCPConn), other.(*gonet.TCPConn)
}
