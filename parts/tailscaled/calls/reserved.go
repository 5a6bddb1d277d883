// Knows the addresses that peers are not led to: metadata, link-local, other nodes, and this machine's loopback.

package calls

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"tailscale.com/net/tsaddr"
)

// reserved lists the networks of src/proxy/policy/reserved.rs and src/target/metadata.rs; a test compares both.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	// AWS: metadata at ::254, credentials of ECS and EKS at ::23.
	netip.MustParsePrefix("fd00:ec2::/32"),
	// Google Cloud.
	netip.MustParsePrefix("fd20:ce::254/128"),
	// Azure's platform services.
	netip.MustParsePrefix("168.63.129.16/32"),
	// Oracle Cloud.
	netip.MustParsePrefix("192.0.0.192/32"),
	netip.MustParsePrefix("fd00:c1::/32"),
	// Scaleway.
	netip.MustParsePrefix("fd00:42::42/128"),
	// Akamai (Linode), Alibaba Cloud.
	netip.MustParsePrefix("fd00:a9fe:a9fe::/48"),
	netip.MustParsePrefix("fd00:100::100:200/128"),
	netip.MustParsePrefix("100.100.100.200/32"),
	// Multicast; broadcast and reserved.
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("240.0.0.0/4"),
	// The tailnet's own ranges, where an address that is not this node's leads to no node.
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("fd7a:115c:a1e0::/48"),
}

// metadata lists the addresses of src/target/metadata.rs that programs ask over IPv4.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"),
	netip.MustParseAddr("169.254.170.2"),
	netip.MustParseAddr("169.254.170.23"),
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("192.0.0.192"),
	netip.MustParseAddr("169.254.42.42"),
	netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("100.80.80.80"),
	netip.MustParseAddr("100.96.0.96"),
}

// isReserved reports whether no peer may be led to an address that is not one of this node's own. The addresses inside it count
// as well: a gateway takes them out and sends the packet there.
func isReserved(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if address.IsLoopback() || address.IsUnspecified() {
		return true
	}
	// What a site's 4via6 address leads to is inside it.
	if !tsaddr.TailscaleViaRange().Contains(address) && isInReserved(address) {
		return true
	}
	for _, inner := range embedded(address) {
		if isInReserved(inner) {
			return true
		}
	}
	return false
}

func isInReserved(address netip.Addr) bool {
	for _, network := range reserved {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// embedded returns every IPv4 address that an address may carry, by the forms that src/target/embedded.rs describes.
func embedded(address netip.Addr) []netip.Addr {
	if !address.Is6() {
		return nil
	}
	bytes := address.As16()
	at := func(places ...int) netip.Addr {
		return netip.AddrFrom4([4]byte{bytes[places[0]], bytes[places[1]], bytes[places[2]], bytes[places[3]]})
	}
	segment := func(index int) uint16 { return binary.BigEndian.Uint16(bytes[2*index:]) }
	begins := func(segments ...uint16) bool {
		for i, wanted := range segments {
			if segment(i) != wanted {
				return false
			}
		}
		return true
	}
	last := at(12, 13, 14, 15)
	var found []netip.Addr
	switch {
	case address.IsLoopback() || address.IsUnspecified():
	case begins(0, 0, 0, 0, 0, 0xffff), begins(0, 0, 0, 0, 0xffff, 0), begins(0, 0, 0, 0, 0, 0):
		found = append(found, last)
	case begins(0x64, 0xff9b, 0, 0, 0, 0):
		found = append(found, last)
	case begins(0x64, 0xff9b, 1):
		found = append(found, at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last)
	case begins(0x2002):
		found = append(found, at(2, 3, 4, 5))
	case begins(0x2001, 0):
		client := last.As4()
		for i := range client {
			client[i] ^= 0xff
		}
		found = append(found, at(4, 5, 6, 7), netip.AddrFrom4(client))
	case begins(0xfd7a, 0x115c, 0xa1e0, 0xb1a):
		found = append(found, last)
	}
	// ISATAP, below any prefix.
	if (segment(4) == 0 || segment(4) == 0x200) && segment(5) == 0x5efe {
		found = append(found, last)
	}
	// NAT64 by a prefix of the network's own.
	below := []netip.Addr{at(4, 5, 6, 7), at(5, 6, 7, 9), at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last}
	for _, inner := range below {
		if slices.Contains(metadata, inner) {
			found = append(found, inner)
		}
	}
	return found
}
