// Dials addresses through the tailnet, by TCP or UDP, and never past it.

package calls

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"tailscale.com/ipn"
	"tailscale.com/ipn/ipnlocal"
)

// dialFunc connects to an address through the tailnet, by TCP or UDP.
type dialFunc func(ctx context.Context, network string, address netip.AddrPort) (net.Conn, outcome, error)

func dialerOf(backend *ipnlocal.LocalBackend) dialFunc {
	return func(ctx context.Context, network string, address netip.AddrPort) (net.Conn, outcome, error) {
		return dial(ctx, backend, network, address)
	}
}

// dial connects to an address through the tailnet. Where no node leads there, the outcome is direct: the caller is to dial
// it itself, from its own process and network.
func dial(ctx context.Context, backend *ipnlocal.LocalBackend, network string, address netip.AddrPort) (net.Conn, outcome, error) {
	if !isReady(backend) {
		return nil, notReady, errNotReady
	}
	if !leadsInside(backend, address.Addr()) {
		return nil, direct, nil
	}
	conn, err := dialInside(ctx, backend, network, address)
	if err != nil {
		return nil, outcomeOf(err), err
	}
	return conn, connected, nil
}

// isReady tells whether the control server has told of the tailnet. Until then no node is known, and a name that only a node has
// would be asked of the container's name servers.
func isReady(backend *ipnlocal.LocalBackend) bool {
	return backend.State() == ipn.Running && backend.NetMapNoPeers() != nil
}

// errNotReady is the error of a tailscaled that has just started.
var errNotReady = errors.New("there is no network map yet")

// dialInside never leaves the tailnet. [tsdial.Dialer.UserDial] does, once the node has gone that led to the address.
func dialInside(ctx context.Context, backend *ipnlocal.LocalBackend, network string, address netip.AddrPort) (net.Conn, error) {
	dialer := backend.Dialer()
	byNetstack := dialer.NetstackDialTCP
	if network == "udp" {
		byNetstack = dialer.NetstackDialUDP
	}
	if byNetstack == nil {
		// tailscaled has a network interface, and the kernel routes by it.
		return dialer.UserDial(ctx, network, address.String())
	}
	return byNetstack(ctx, address)
}
