// Serves the node call: this node or a peer, its path and its round trip.

package calls

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"tailscale.com/ipn/ipnlocal"
	"tailscale.com/ipn/ipnstate"
	"tailscale.com/ipn/localapi"
	"tailscale.com/tailcfg"
)

// pingTimeout bounds the question for a peer's round trip.
const pingTimeout = 2 * time.Second

// Node is one node of the tailnet, as the node call answers.
type Node struct {
	Name      string
	Addresses []netip.Addr
	Online    bool
	// KeyExpiry is absent where the key does not expire.
	KeyExpiry *time.Time `json:",omitempty"`
	// Suffix is the domain of the tailnet's own names; of this node only.
	Suffix string `json:",omitempty"`
	// Path is how packets get to a peer; of peers only.
	Path *Path `json:",omitempty"`
}

// Path is the way to a peer.
type Path struct {
	// Endpoint is its address and port where the way is direct.
	Endpoint string `json:",omitempty"`
	// Region is the code of the DERP region by which it can be reached.
	Region string `json:",omitempty"`
	// LastHandshake is that of WireGuard; absent where there was none.
	LastHandshake *time.Time `json:",omitempty"`
	// RoundTripMilliseconds is the answer to a disco ping; absent where it was not asked for or not answered.
	RoundTripMilliseconds float64 `json:",omitempty"`
}

// serveNode answers with this node, or with the peer that the address or the name in the query is of; 404 where there is none.
func serveNode(h *localapi.Handler, w http.ResponseWriter, r *http.Request) {
	if !h.PermitRead {
		http.Error(w, "reading is not permitted", http.StatusForbidden)
		return
	}
	peer := r.FormValue("peer")
	if peer == "" {
		status := h.LocalBackend().StatusWithoutPeers()
		node := describe(status.Self)
		if status.CurrentTailnet != nil {
			node.Suffix = status.CurrentTailnet.MagicDNSSuffix
		}
		answer(w, node)
		return
	}
	found := findPeer(h.LocalBackend().Status(), peer)
	if found == nil {
		http.Error(w, "no peer has this address or name", http.StatusNotFound)
		return
	}
	node := describe(found)
	node.Path = pathTo(found)
	if r.FormValue("ping") == "true" && len(found.TailscaleIPs) > 0 {
		node.Path.RoundTripMilliseconds = roundTrip(r.Context(), h.LocalBackend(), found.TailscaleIPs[0])
	}
	answer(w, node)
}

func describe(status *ipnstate.PeerStatus) Node {
	if status == nil {
		return Node{}
	}
	return Node{
		Name:      strings.TrimSuffix(status.DNSName, "."),
		Addresses: status.TailscaleIPs,
		Online:    status.Online,
		KeyExpiry: status.KeyExpiry,
	}
}

// findPeer finds a peer by one of its addresses, its whole name or the name's first label.
func findPeer(status *ipnstate.Status, wanted string) *ipnstate.PeerStatus {
	address, _ := netip.ParseAddr(wanted)
	name := strings.ToLower(strings.TrimSuffix(wanted, "."))
	for _, peer := range status.Peer {
		whole := strings.ToLower(strings.TrimSuffix(peer.DNSName, "."))
		label, _, _ := strings.Cut(whole, ".")
		if whole != "" && (whole == name || label == name) {
			return peer
		}
		for _, own := range peer.TailscaleIPs {
			if own == address {
				return peer
			}
		}
	}
	return nil
}

func pathTo(peer *ipnstate.PeerStatus) *Path {
	path := &Path{Endpoint: peer.CurAddr, Region: peer.Relay}
	if !peer.LastHandshake.IsZero() {
		path.LastHandshake = &peer.LastHandshake
	}
	return path
}

func roundTrip(ctx context.Context, backend *ipnlocal.LocalBackend, address netip.Addr) float64 {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	result, err := backend.Ping(ctx, address, tailcfg.PingDisco, 0)
	if err != nil || result.Err != "" {
		return 0
	}
	return result.LatencySeconds * 1000
}
