// Keeps tailscaled in userspace mode from listening on all addresses.

package calls

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	_ "unsafe" // for linkname

	"tailscale.com/net/netmon"
)

// initListenConfig is tailscaled's hook for the sockets that it listens on for other nodes; nil on Linux.
//
//go:linkname initListenConfig tailscale.com/ipn/ipnlocal.initListenConfig
var initListenConfig func(config *net.ListenConfig, address netip.Addr, interfaceIndex int) error

// errNetstackServes keeps the name of what it means in tailscaled's log.
var errNetstackServes = errors.New("the network stack serves it, no port of the container is needed")

// In userspace mode tailscaled listens for its peer API on all of the container's addresses, where everybody in the pod
// and in the container's network reaches it. Nobody needs that: connections from other nodes arrive in the network stack,
// which serves them itself, as on Android.
func init() {
	if !isUserspace(os.Args) {
		return
	}
	// tailscaled takes an index of 0 for an interface that is not there yet.
	netmon.SetTailscaleInterfaceProps("", 1)
	initListenConfig = func(config *net.ListenConfig, _ netip.Addr, _ int) error {
		config.Control = refuseWildcard
		return nil
	}
}

// isUserspace reads the last --tun of a command line: that one counts.
func isUserspace(arguments []string) bool {
	device := ""
	for i, argument := range arguments {
		name, value, isWhole := strings.Cut(argument, "=")
		if name != "--tun" && name != "-tun" {
			continue
		}
		if !isWhole && i+1 < len(arguments) {
			value = arguments[i+1]
		}
		device = value
	}
	return device == "userspace-networking"
}

// refuseWildcard is a [net.ListenConfig.Control] that lets nothing listen on all addresses.
func refuseWildcard(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		return errNetstackServes
	}
	return nil
}
