package calls

import (
	"net/netip"
	"testing"

	"tailscale.com/types/logger"
	"tailscale.com/wgengine/filter"
	"tailscale.com/wgengine/netstack"
)

func TestPeersReachThisNodeButForClosedPortsAndNoReservedAddress(t *testing.T) {
	ports := must[map[uint16]bool](t)(parsePorts("1055,9002"))
	own := netip.MustParseAddr("100.64.0.3")
	guard := &peerGuard{isOwn: func(a netip.Addr) bool { return a == own }, closedPorts: ports, logf: logger.Discard}
	guard.closedUDPPorts = must[map[uint16]bool](t)(parsePorts("5300"))
	source := netip.MustParseAddrPort("100.64.0.1:1")
	for _, c := range []struct {
		destination string
		tcp, udp    bool
	}{
		{"100.64.0.3:1055", true, false},
		{"100.64.0.3:9002", true, false},
		{"100.64.0.3:1056", false, false},
		{"100.64.0.3:5300", false, true},
		{"100.64.0.4:1056", true, true},
		{"169.254.169.254:80", true, true},
		{"[fd00:ec2::254]:80", true, true},
		{"127.0.0.1:80", true, true},
		{"203.0.113.7:1055", false, false},
	} {
		destination := netip.MustParseAddrPort(c.destination)
		handler, refused := guard.tcp(source, destination)
		datagrams, dropped := guard.udp(source, destination)
		if handler != nil || datagrams != nil || refused != c.tcp || dropped != c.udp {
			t.Errorf("%s: %v %v", c.destination, refused, dropped)
		}
	}
}

func TestNoPortIsClosedWithoutTheVariableAndAMistakeInItIsAnError(t *testing.T) {
	if ports, err := parsePorts(""); err != nil || len(ports) != 0 {
		t.Errorf("%v %v", ports, err)
	}
	for _, text := range []string{"x", "1055;9002", "65536", "-1"} {
		if _, err := parsePorts(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestANetworkStackTellsItsOwnAddresses(t *testing.T) {
	own := must[func(netip.Addr) bool](t)(ownAddressesOf(&netstack.Impl{}))
	if own(netip.MustParseAddr("100.64.0.3")) {
		t.Error("one without a tailnet has addresses")
	}
}

func TestWithShieldsUpThereIsNoPeerAPI(t *testing.T) {
	port := func(netip.Addr) (uint16, bool) { return 1, true }
	up := filter.NewShieldsUpFilter(nil, nil, nil, logger.Discard)
	down := filter.NewAllowNone(logger.Discard, nil)
	for _, c := range []struct {
		name    string
		current *filter.Filter
		there   bool
	}{{"none", nil, false}, {"up", up, false}, {"down", down, true}} {
		if _, there := shielded(port, func() *filter.Filter { return c.current })(netip.Addr{}); there != c.there {
			t.Errorf("%s: %v", c.name, there)
		}
	}
}
