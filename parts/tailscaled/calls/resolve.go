// Resolves names as the tailnet knows them: MagicDNS, search domains, records.

package calls

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"tailscale.com/ipn/ipnlocal"
	"tailscale.com/net/tsaddr"
	"tailscale.com/types/netmap"
	"tailscale.com/util/dnsname"
)

// mostAddresses of one name are told; no host has more that matter.
const mostAddresses = 16

// place is an address, and whether a node of the tailnet leads there.
type place struct {
	address netip.Addr
	inside  bool
}

// errNoName is the error for a name that nobody knows.
var errNoName = errors.New("no such host")

// leadsInside tells whether a node of the tailnet has the address, or leads to it. An exit node leads to every address, but
// not to one of the tailnet's own ranges that no node has.
func leadsInside(backend *ipnlocal.LocalBackend, address netip.Addr) bool {
	peer, ok := backend.PeerForIP(address)
	if !ok {
		return false
	}
	return !tsaddr.IsTailscaleIP(address) || peer.Route.Bits() > ownRange(address).Bits()
}

// ownRange is the range that the tailnet's own addresses of this family come from.
func ownRange(address netip.Addr) netip.Prefix {
	if address.Is4() {
		return tsaddr.CGNATRange()
	}
	return tsaddr.TailscaleULARange()
}

// found is what a name stands for.
type found struct {
	// names are the whole names that led to the addresses: first the one that answered, then its aliases.
	names []string
	// own: the tailnet answers for the name, so that nobody outside of it chooses the addresses.
	own       bool
	addresses []netip.Addr
}

// resolve looks a name up as a machine does that has Tailscale: MagicDNS and search domains, then the name servers that
// the tailnet has for the name's zone, then those of the container with its search list.
func resolve(ctx context.Context, backend *ipnlocal.LocalBackend, name string) (found, error) {
	if !isReady(backend) {
		return found{}, errNotReady
	}
	if address, err := netip.ParseAddr(name); err == nil {
		return found{names: []string{name}, addresses: []netip.Addr{address.Unmap()}}, nil
	}
	networkMap := backend.NetMapNoPeers()
	failure := errNoName
	for _, candidate := range candidates(networkMap, acceptsDNS(backend), name) {
		answer, err := lookUp(ctx, backend, networkMap, candidate)
		if err != nil {
			if !isUnknown(err) {
				failure = err
			}
			continue
		}
		if len(answer.addresses) > 0 {
			return answer, nil
		}
	}
	return found{}, failure
}

func places(backend *ipnlocal.LocalBackend, addresses []netip.Addr) []place {
	found := make([]place, 0, min(len(addresses), mostAddresses))
	for _, address := range addresses[:min(len(addresses), mostAddresses)] {
		found = append(found, place{address, leadsInside(backend, address)})
	}
	return found
}

func isUnknown(err error) bool {
	var unknown *net.DNSError
	return errors.Is(err, errNoName) || (errors.As(err, &unknown) && unknown.IsNotFound)
}

func acceptsDNS(backend *ipnlocal.LocalBackend) bool {
	return backend.Prefs().Valid() && backend.Prefs().CorpDNS()
}

// candidates are the names that a name may stand for, in the order of resolv.conf(5) with ndots:1. Those with a dot at the
// end are whole; to the name itself the container's own search list is applied.
func candidates(networkMap *netmap.NetworkMap, acceptsDNS bool, name string) []string {
	if strings.HasSuffix(name, ".") || networkMap == nil {
		return []string{name}
	}
	var searched []string
	if acceptsDNS {
		searched = networkMap.DNS.Domains
	}
	if strings.Contains(name, ".") {
		return append([]string{name}, below(searched, name)...)
	}
	// MagicDNS knows the short names of nodes whatever the node accepts of the rest.
	return append(below(append([]string{networkMap.MagicDNSSuffix()}, searched...), name), name)
}

// below is the name in each of the domains, whole.
func below(domains []string, name string) []string {
	var whole []string
	for _, domain := range domains {
		if domain = strings.Trim(domain, "."); domain != "" {
			whole = append(whole, name+"."+domain+".")
		}
	}
	return whole
}

// lookUp asks for one name where it belongs. For one that is not whole, that is where it would belong if it were.
func lookUp(ctx context.Context, backend *ipnlocal.LocalBackend, networkMap *netmap.NetworkMap, name string) (found, error) {
	whole, err := wholeName(name)
	if err != nil {
		return found{}, errNoName
	}
	switch serverFor(backend, networkMap, whole) {
	case tailnetOnly:
		return askOwn(backend, string(whole))
	case tailnetFirst:
		if answer, err := askTailnet(backend, string(whole)); err == nil && len(answer.addresses) > 0 {
			return answer, nil
		}
	case byExitNode:
		return searchContainer(ctx, name, ownOr(backend, networkMap, askExitNode(backend)))
	}
	return searchContainer(ctx, name, ownOr(backend, networkMap, askContainer))
}

// ownOr is a look-up of whole names by the tailnet where the name is of a zone of its own, which the container's search list may
// name, too, else by others.
func ownOr(backend *ipnlocal.LocalBackend, networkMap *netmap.NetworkMap, others lookUpFunc) lookUpFunc {
	return func(ctx context.Context, name string) (found, error) {
		whole, err := wholeName(name)
		if err != nil {
			return found{}, errNoName
		}
		if serverFor(backend, networkMap, whole) == tailnetOnly {
			return askOwn(backend, string(whole))
		}
		return others(ctx, string(whole))
	}
}

// askExitNode tells one address, and no aliases.
func askExitNode(backend *ipnlocal.LocalBackend) lookUpFunc {
	return func(ctx context.Context, name string) (found, error) {
		address, _, err := backend.Dialer().UserDialPlan(ctx, "tcp", net.JoinHostPort(name, "0"))
		if err != nil {
			return found{}, err
		}
		return found{names: []string{name}, addresses: []netip.Addr{address.Addr()}}, nil
	}
}

func askOwn(backend *ipnlocal.LocalBackend, name string) (found, error) {
	answer, err := askTailnet(backend, name)
	answer.own = true
	return answer, err
}

// wholeName is a name as zones are compared with it: those of the network map are in lower case.
func wholeName(name string) (dnsname.FQDN, error) {
	return dnsname.ToFQDN(strings.ToLower(name))
}

// server says who answers for a name.
type server int

const (
	container server = iota
	// tailnetOnly: a zone of the tailnet's own, of which nobody else is to hear.
	tailnetOnly
	// tailnetFirst: a name server for everything; what it does not know may be a neighbour in the container's network.
	tailnetFirst
	byExitNode
)

func serverFor(backend *ipnlocal.LocalBackend, networkMap *netmap.NetworkMap, name dnsname.FQDN) server {
	if networkMap == nil {
		return container
	}
	if isOwn(networkMap, name) {
		return tailnetOnly
	}
	if acceptsDNS(backend) {
		for suffix := range networkMap.DNS.Routes {
			if zone, err := dnsname.ToFQDN(suffix); err == nil && zone.Contains(name) {
				return tailnetOnly
			}
		}
	}
	if usesExitNode(backend) {
		return byExitNode
	}
	if acceptsDNS(backend) && len(networkMap.DNS.Resolvers) > 0 {
		return tailnetFirst
	}
	return container
}

func usesExitNode(backend *ipnlocal.LocalBackend) bool {
	prefs := backend.Prefs()
	return prefs.Valid() && (prefs.ExitNodeID() != "" || prefs.ExitNodeIP().IsValid())
}

// isOwn tells whether MagicDNS answers for the name.
func isOwn(networkMap *netmap.NetworkMap, name dnsname.FQDN) bool {
	if suffix, err := dnsname.ToFQDN(networkMap.MagicDNSSuffix()); err == nil && suffix != "." && suffix.Contains(name) {
		return true
	}
	for _, record := range networkMap.DNS.ExtraRecords {
		if other, err := dnsname.ToFQDN(record.Name); err == nil && strings.EqualFold(string(other), string(name)) {
			return true
		}
	}
	return false
}

// aaaaLate is how long AAAA records may be late once there are A records: some name servers never answer for them (RFC 8305,
// section 3).
const aaaaLate = 50 * time.Millisecond

// askTailnet asks tailscaled's resolver for all addresses of a whole name.
func askTailnet(backend *ipnlocal.LocalBackend, name string) (found, error) {
	type reply struct {
		names     []string
		addresses []netip.Addr
		err       error
	}
	ask := func(kind dnsmessage.Type) <-chan reply {
		to := make(chan reply, 1)
		go func() {
			message, _, err := backend.QueryDNS(name, kind)
			if err != nil {
				to <- reply{err: err}
				return
			}
			addresses, err := addressesIn(message)
			to <- reply{namesIn(message), addresses, err}
		}()
		return to
	}
	aaaa := ask(dnsmessage.TypeAAAA)
	a := <-ask(dnsmessage.TypeA)
	var late <-chan time.Time
	if len(a.addresses) > 0 {
		late = time.After(aaaaLate)
	}
	var other reply
	select {
	case other = <-aaaa:
	case <-late:
	}
	if all := append(a.addresses, other.addresses...); len(all) > 0 {
		return found{names: append([]string{name}, append(a.names, other.names...)...), addresses: all}, nil
	}
	return found{}, errors.Join(a.err, other.err)
}
