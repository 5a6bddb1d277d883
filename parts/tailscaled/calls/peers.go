// Decides what of this machine and its network peers reach through the network stack.

package calls

import (
	"net"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"strings"

	"tailscale.com/net/packet"
	"tailscale.com/net/tstun"
	"tailscale.com/syncs"
	"tailscale.com/tsd"
	"tailscale.com/types/logger"
	"tailscale.com/types/nettype"
	"tailscale.com/wgengine/filter"
	"tailscale.com/wgengine/netstack"
)

// closedPortsVariable lists the TCP ports that tetherd listens on at loopback, separated by commas. The network stack would hand
// peers on to them as if they were programs of this machine.
const closedPortsVariable = "TETHERD_PORTS_CLOSED_TO_PEERS"

// closedUDPPortsVariable lists the UDP ports of the same kind.
const closedUDPPortsVariable = "TETHERD_UDP_PORTS_CLOSED_TO_PEERS"

// NewNetstack creates the network stack, as tailscaled's hook for it does.
type NewNetstack = func(logf logger.Logf, sys *tsd.System, onlyNetstack bool) (tsd.NetstackImpl, error)

// GuardPeers makes each network stack that create returns refuse what peers must not reach.
func GuardPeers(create NewNetstack) NewNetstack {
	return func(logf logger.Logf, sys *tsd.System, onlyNetstack bool) (tsd.NetstackImpl, error) {
		made, err := create(logf, sys, onlyNetstack)
		if err != nil {
			return nil, err
		}
		stack, ok := made.(*netstack.Impl)
		if !ok {
			return nil, errNotNetstack
		}
		guard, err := newPeerGuard(stack, logf)
		if err != nil {
			return nil, err
		}
		stack.GetTCPHandlerForFlow = guard.tcp
		stack.GetUDPHandlerForFlow = guard.udp
		tun := sys.Tun.Get()
		tun.PreFilterPacketInboundFromWireGuard = guard.beforeFilter(tun.PreFilterPacketInboundFromWireGuard)
		return guardedNetstack{stack, tun}, nil
	}
}

// guardedNetstack is a network stack that is not started yet.
type guardedNetstack struct {
	*netstack.Impl
	tun *tstun.Wrapper
}

// Start starts the network stack, when the backend has told the filter of packets about its peer API.
func (s guardedNetstack) Start(backend tsd.LocalBackend) error {
	if port := s.tun.PeerAPIPort; port != nil {
		s.tun.PeerAPIPort = shielded(port, s.tun.GetFilter)
	}
	return s.Impl.Start(backend)
}

// shielded returns what peerAPIPort returns while shields are down. The filter lets peers connect to the peer API whatever else
// it blocks; with shields up there is nothing in the peer API that a node needs to offer.
func shielded(peerAPIPort func(netip.Addr) (uint16, bool), current func() *filter.Filter) func(netip.Addr) (uint16, bool) {
	return func(address netip.Addr) (uint16, bool) {
		if filter := current(); filter == nil || filter.ShieldsUp() {
			return 0, false
		}
		return peerAPIPort(address)
	}
}

// peerGuard refuses connections and datagrams that come from peers.
type peerGuard struct {
	// isOwn reports whether an address is one of this node's.
	isOwn          func(netip.Addr) bool
	closedPorts    map[uint16]bool
	closedUDPPorts map[uint16]bool
	logf           logger.Logf
}

func newPeerGuard(stack *netstack.Impl, logf logger.Logf) (*peerGuard, error) {
	own, err := ownAddressesOf(stack)
	if err != nil {
		return nil, err
	}
	ports, err := parsePorts(os.Getenv(closedPortsVariable))
	if err != nil {
		return nil, err
	}
	udpPorts, err := parsePorts(os.Getenv(closedUDPPortsVariable))
	return &peerGuard{isOwn: own, closedPorts: ports, closedUDPPorts: udpPorts, logf: logf}, err
}

// ownAddressesOf returns how a network stack tells its node's own addresses. It keeps that in a private field: a test tells when
// a new version names it otherwise.
func ownAddressesOf(stack *netstack.Impl) (func(netip.Addr) bool, error) {
	found := reflect.ValueOf(stack).Elem().FieldByName("atomicIsLocalIPFunc")
	if !found.IsValid() || found.Type() != reflect.TypeFor[syncs.AtomicValue[func(netip.Addr) bool]]() {
		return nil, errNotNetstack
	}
	// Sound: the address is that of a field of a live object, and its type has just been compared.
	value := (*syncs.AtomicValue[func(netip.Addr) bool])(found.Addr().UnsafePointer())
	return func(address netip.Addr) bool {
		is := value.Load()
		return is != nil && is(address)
	}, nil
}

func parsePorts(text string) (map[uint16]bool, error) {
	ports := make(map[uint16]bool)
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		port, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return nil, err
		}
		ports[uint16(port)] = true
	}
	return ports, nil
}

// refuses reports whether what comes for destination is refused, with these closed ports. A connection to this node itself goes to loopback.
func (g *peerGuard) refuses(destination netip.AddrPort, closed map[uint16]bool) bool {
	if g.isOwn(destination.Addr()) {
		return closed[destination.Port()]
	}
	return isReserved(destination.Addr())
}

func (g *peerGuard) tcp(source, destination netip.AddrPort) (func(net.Conn), bool) {
	refused := g.refuses(destination, g.closedPorts)
	if refused {
		g.logf("tetherd: refusing TCP to %v from %v", destination, source)
	}
	return nil, refused
}

func (g *peerGuard) udp(source, destination netip.AddrPort) (func(nettype.ConnPacketConn), bool) {
	refused := g.refuses(destination, g.closedUDPPorts)
	if refused {
		g.logf("tetherd: refusing UDP to %v from %v", destination, source)
	}
	return nil, refused
}

// beforeFilter drops pings, which no handler of flows sees, and leaves the rest to next.
func (g *peerGuard) beforeFilter(next tstun.FilterFunc) tstun.FilterFunc {
	return func(p *packet.Parsed, tun *tstun.Wrapper) filter.Response {
		if p.IsEchoRequest() && !g.isOwn(p.Dst.Addr()) && isReserved(p.Dst.Addr()) {
			return filter.DropSilently
		}
		if next == nil {
			return filter.Accept
		}
		return next(p, tun)
	}
}
