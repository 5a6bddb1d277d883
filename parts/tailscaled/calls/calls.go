// Package calls adds LocalAPI calls to tailscaled, for tetherd.
//
// They are for connections that end as they would without a proxy, datagrams, names as the tailnet knows them, and a
// memory limit that can be changed. README.md says why.
package calls

import (
	"encoding/json"
	"net/http"

	"tailscale.com/ipn/localapi"
	"tailscale.com/version"
)

// Marker stands in every tailscaled that has the calls; `tetherd check` looks for it in the program file.
const Marker = "tetherd calls: version 2"

// The names of the calls, each below /localapi/v0/. Another version of a call gets another name.
const (
	infoCall    = "tetherd-v1-info"
	sessionCall = "tetherd-v2-session"
	nodeCall    = "tetherd-v1-node"
)

func init() {
	localapi.Register(infoCall, serveInfo)
	localapi.Register(sessionCall, serveSession)
	localapi.Register(nodeCall, serveNode)
}

// Info is the answer of the info call.
type Info struct {
	// Marker is the constant of the same name.
	Marker string
	// Tailscale is the version of tailscaled.
	Tailscale string
	// Calls lists the names of all calls.
	Calls []string
	// Session lists what a session understands.
	Session []string
	// MemoryLimit is what the Go runtime keeps to, in bytes; the largest int64 is no limit.
	MemoryLimit int64
}

func serveInfo(h *localapi.Handler, w http.ResponseWriter, r *http.Request) {
	if !h.PermitRead {
		http.Error(w, "reading is not permitted", http.StatusForbidden)
		return
	}
	answer(w, Info{
		Marker:      Marker,
		Tailscale:   version.Short(),
		Calls:       []string{infoCall, sessionCall, nodeCall},
		Session:     []string{"dial", "hand-over", "cut", "cut-all", "resolve", "query", "associate", "drain", "memory", "traffic"},
		MemoryLimit: memoryLimit(),
	})
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
