package calls

import (
	"net/netip"
	"slices"
	"testing"
)

// The rows of src/target/embedded.rs; a test there compares both.
func TestEveryFormGivesTheAddressInside(t *testing.T) {
	inner := netip.MustParseAddr("10.1.2.3")
	for _, text := range []string{
		"::ffff:10.1.2.3",
		"::ffff:0:10.1.2.3",
		"::10.1.2.3",
		"64:ff9b::10.1.2.3",
		"64:ff9b:1::10.1.2.3",
		"64:ff9b:1:a01:2:300::",
		"64:ff9b:1:000a:1:203::",
		"64:ff9b:1:0:a:102:300:0",
		"2002:a01:203::1",
		"2001:0:a01:203::1",
		"2001:0:c000:201::f5fe:fdfc",
		"fd7a:115c:a1e0:b1a:0:7:a01:203",
		"2001:db8::5efe:10.1.2.3",
		"fe80::200:5efe:10.1.2.3",
	} {
		if found := embedded(netip.MustParseAddr(text)); !slices.Contains(found, inner) {
			t.Errorf("%s: %v", text, found)
		}
	}
}

func TestAnOrdinaryAddressCarriesNone(t *testing.T) {
	for _, text := range []string{
		"::1", "::", "2001:db8::1", "fd7a:115c:a1e0::1", "fd00::1", "2003::a01:203", "64:ff9c::a01:203", "10.1.2.3",
	} {
		if found := embedded(netip.MustParseAddr(text)); found != nil {
			t.Errorf("%s: %v", text, found)
		}
	}
}

func TestReservedAddressesInEveryFormAndNoNeighbours(t *testing.T) {
	for text, wanted := range map[string]bool{
		"169.254.169.254": true, "169.253.255.255": false, "169.255.0.0": false,
		"fe80::1": true, "fe80::1%eth0": true, "fec0::": false,
		"fd00:ec2::254": true, "fd00:ec2::23": true, "fd00:ec3::254": false,
		"fd20:ce::254": true, "fd20:ce::253": false,
		"168.63.129.16": true, "168.63.129.15": false,
		"192.0.0.192": true, "192.0.0.193": false,
		"fd00:c1::a9fe:a9fe": true, "fd00:c2::1": false,
		"fd00:42::42": true, "fd00:42::43": false,
		"224.0.0.1": true, "223.255.255.255": false, "ff02::1": true, "255.255.255.255": true, "240.0.0.1": true,
		"100.64.0.1": true, "100.100.100.200": true, "100.63.255.255": false, "100.128.0.0": false,
		"fd7a:115c:a1e0::1": true, "fd7a:115c:a1e1::": false,
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "0.0.0.0": true, "::": true, "::ffff:127.0.0.1": true,
		"::ffff:169.254.169.254": true, "::ffff:0:169.254.169.254": true, "::169.254.169.254": true,
		"64:ff9b::a9fe:a9fe": true, "64:ff9b::168.63.129.16": true, "64:ff9b::10.1.2.3": false,
		"64:ff9b:1::a9fe:a9fe": true, "64:ff9b:1::10.1.2.3": false,
		"2002:a9fe:a9fe::1": true, "2001:db8::5efe:169.254.169.254": true, "2001:0:c000:201::5601:5601": true,
		"fd7a:115c:a1e0:b1a:0:7:a9fe:a9fe": true, "fd7a:115c:a1e0:b1a:0:7:10.1.2.3": false,
		"2001:db8:a9fe:a9fe::": true, "2001:db8:1a9:fea9:fe::": true, "2001:db8:1:a9fe:a9:fe00::": true,
		"2001:db8:1:1a9:fe:a9fe::": true, "2001:db8:1:1:a9:fea9:fe00:0": true, "2001:db8:64::a9fe:a9fe": true,
		"2001:db8:64::a9fe:2a2a": true, "fd00:a9fe:a9fe::1": true, "fd00:a9fe:a9ff::1": false,
		"fd00:100::100:200": true, "fd00:100::100:201": false,
		"2001:db8:64::6464:64c8": true, "fd00:64::192.0.0.192": true, "2001:db8:64::a9fe:a9ff": false,
		"10.1.2.3": false, "203.0.113.7": false, "2001:db8::1": false, "fd00:8::1": false,
	} {
		if got := isReserved(netip.MustParseAddr(text)); got != wanted {
			t.Errorf("%s: %v", text, got)
		}
	}
}
