// Command control is a control server for tests of what Headscale does not have: Tailnet Lock and network flow logs.
//
// It is the one of tailscale's own integration tests, with a relay beside it. It listens on 127.0.0.1:8080 over plain HTTP, takes
// every auth key, which it logs, and keeps everything in memory.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logid"
	"tailscale.com/types/tkatype"
)

const address = "127.0.0.1:8080"

func main() {
	flowLogs := flag.Bool("flow-logs", false, "network flow logs are on from the start")
	flag.Parse()

	server := &testcontrol.Server{
		DERPMap:         relay(),
		ExplicitBaseURL: "http://" + address,
		MagicDNSDomain:  "tail.test",
		Verbose:         true,
	}
	capabilities := tailcfg.NodeCapMap{tailcfg.CapabilityTailnetLock: nil}
	if *flowLogs {
		capabilities[tailcfg.CapabilityDataPlaneAuditLogs] = nil
	}
	server.DefaultNodeCapabilities = &capabilities
	signed := &signatures{of: map[key.NodePublic]tkatype.MarshaledSignature{}}
	log.SetOutput(signed)
	server.HoldMapRequest = func(request *tailcfg.MapRequest) func() {
		complete(server, signed, request.NodeKey)
		return nil
	}
	logs := auditLogs{domain: newLogID(), node: newLogID()}
	server.ModifyFirstMapResponse = func(response *tailcfg.MapResponse, _ *tailcfg.MapRequest) {
		logs.name(response)
	}
	go tellOfLock(server)
	http.Handle("/", server)
	http.HandleFunc("POST /test/flow-logs/{wanted}", func(_ http.ResponseWriter, request *http.Request) {
		setFlowLogs(server, request.PathValue("wanted") == "on")
	})
	http.HandleFunc("POST /test/signing-key", newSigningKey)
	log.Fatal(http.ListenAndServe(address, nil))
}

// complete gives a node what the server of the integration tests leaves out: that it is online, and the signature by which it has
// registered with a wrapped key.
func complete(server *testcontrol.Server, signed *signatures, node key.NodePublic) {
	known := server.Node(node)
	if known == nil || known.Online != nil {
		return
	}
	online := true
	known.Online = &online
	if len(known.KeySignature) == 0 {
		known.KeySignature = signed.find(node)
	}
	server.UpdateNode(known)
}

// tellOfLock tells the nodes once that the tailnet is locked, which the server of the integration tests leaves to their next question.
func tellOfLock(server *testcontrol.Server) {
	for range time.Tick(100 * time.Millisecond) {
		for _, node := range server.AllNodes() {
			response, err := server.MapResponse(&tailcfg.MapRequest{NodeKey: node.Key})
			if err != nil || response == nil || response.TKAInfo == nil {
				continue
			}
			// The signatures of the nodes come right after the lock.
			time.Sleep(300 * time.Millisecond)
			// A change of nothing, which is told to all.
			server.SetMasqueradeAddresses(nil)
			return
		}
	}
}

// setFlowLogs switches network flow logs on or off for all nodes.
func setFlowLogs(server *testcontrol.Server, on bool) {
	for _, node := range server.AllNodes() {
		capabilities := tailcfg.NodeCapMap{tailcfg.CapabilityTailnetLock: nil}
		if on {
			capabilities[tailcfg.CapabilityDataPlaneAuditLogs] = nil
		}
		server.SetNodeCapMap(node.Key, capabilities)
	}
}

// newSigningKey answers with a key of Tailnet Lock. `tailscale lock sign` makes one for each auth key that it wraps, and adds it
// by a call that the server of the integration tests does not have: here it is one of the keys that the tailnet is locked with.
func newSigningKey(w http.ResponseWriter, _ *http.Request) {
	private := key.NewNLPrivate()
	text, err := private.MarshalText()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	json.NewEncoder(w).Encode(map[string]string{"Private": string(text), "Public": private.Public().CLIString()})
}

// auditLogs are the private ids of the flow logs of tailnet and node.
type auditLogs struct{ domain, node string }

func (logs auditLogs) name(response *tailcfg.MapResponse) {
	response.DomainDataPlaneAuditLogID = logs.domain
	if response.Node != nil {
		response.Node.DataPlaneAuditLogID = logs.node
	}
}

func newLogID() string {
	id, err := logid.NewPrivateID()
	if err != nil {
		log.Fatal(err)
	}
	text, err := id.MarshalText()
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}

// signatures are those that nodes have registered with. The server logs its requests to register and drops the signature.
type signatures struct {
	mu sync.Mutex
	of map[key.NodePublic]tkatype.MarshaledSignature
}

func (signed *signatures) Write(line []byte) (int, error) {
	if at := bytes.Index(line, []byte("Got tailcfg.RegisterRequest: ")); at >= 0 {
		var request tailcfg.RegisterRequest
		_, text, _ := strings.Cut(string(line[at:]), ": ")
		if err := json.Unmarshal([]byte(text), &request); err == nil && len(request.NodeKeySignature) > 0 {
			signed.mu.Lock()
			signed.of[request.NodeKey] = request.NodeKeySignature
			signed.mu.Unlock()
		}
	}
	return os.Stderr.Write(line)
}

func (signed *signatures) find(node key.NodePublic) tkatype.MarshaledSignature {
	signed.mu.Lock()
	defer signed.mu.Unlock()
	return signed.of[node]
}

// relay starts a relay, and STUN beside it.
func relay() *tailcfg.DERPMap {
	server := httptest.NewUnstartedServer(derpserver.Handler(derpserver.New(key.NewNode(), log.Printf)))
	// A relay takes a connection over, which HTTP/2 does not have.
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	server.StartTLS()
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		log.Fatal(err)
	}
	go answerSTUN(socket)
	node := &tailcfg.DERPNode{
		Name:             "1",
		RegionID:         1,
		HostName:         "127.0.0.1",
		IPv4:             "127.0.0.1",
		IPv6:             "none",
		STUNPort:         socket.LocalAddr().(*net.UDPAddr).Port,
		DERPPort:         server.Listener.Addr().(*net.TCPAddr).Port,
		InsecureForTests: true,
		STUNTestIP:       "127.0.0.1",
	}
	region := &tailcfg.DERPRegion{RegionID: 1, RegionCode: "test", Nodes: []*tailcfg.DERPNode{node}}
	return &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: region}}
}

func answerSTUN(socket *net.UDPConn) {
	packet := make([]byte, 64<<10)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(packet)
		if err != nil {
			log.Fatal(err)
		}
		if id, err := stun.ParseBindingRequest(packet[:n]); err == nil {
			socket.WriteToUDPAddrPort(stun.Response(id, from), from)
		}
	}
}
