// Answers questions of DNS where the tailnet answers for the name, with the whole message of a name server.

package calls

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	"tailscale.com/ipn/ipnlocal"
	"tailscale.com/net/tsaddr"
	"tailscale.com/types/netmap"
	"tailscale.com/util/dnsname"
)

// query is a question of DNS.
type query struct {
	// name is whole, without the dot at its end.
	name string
	kind dnsmessage.Type
	// unknownToOthers: the container's name servers were asked already, and know no such name.
	unknownToOthers bool
}

// errOthersAnswer is the error for a name that the tailnet does not answer for: the container's name servers are to be asked.
var errOthersAnswer = errors.New("the tailnet does not answer for this name")

// errNoAnswer is the error for a name whose name server is silent or at fault.
var errNoAnswer = errors.New("the name server of the tailnet did not answer")

// asker asks tailscaled's resolver: the message, and whether a name server outside of tailscaled was asked for it.
type asker func(name string, kind dnsmessage.Type) (message []byte, byServer bool, err error)

// querier answers questions by what is known of the tailnet.
type querier struct {
	ask       asker
	serverFor func(dnsname.FQDN) server
	// candidates are the names that a name may stand for, in their order.
	candidates func(name string) []string
}

// newQuerier answers for the node's tailnet, as resolve does.
func newQuerier(backend *ipnlocal.LocalBackend, networkMap *netmap.NetworkMap) querier {
	return querier{
		ask: func(name string, kind dnsmessage.Type) ([]byte, bool, error) {
			message, servers, err := backend.QueryDNS(name, kind)
			return message, len(servers) > 0, err
		},
		serverFor: func(name dnsname.FQDN) server {
			if address, ok := reversed(string(name)); ok && isOfNode(backend, address) {
				return tailnetOnly
			}
			return serverFor(backend, networkMap, name)
		},
		candidates: func(name string) []string { return candidates(networkMap, acceptsDNS(backend), name) },
	}
}

// isOfNode tells whether the address is one of a node's own, and not of a network behind it.
func isOfNode(backend *ipnlocal.LocalBackend, address netip.Addr) bool {
	peer, ok := backend.PeerForIP(address)
	return (ok && peer.Route.IsSingleIP()) || address == tsaddr.TailscaleServiceIP() || address == tsaddr.TailscaleServiceIPv6()
}

// query answers a question of DNS.
func (s *session) query(id uint32, question query) {
	answer := appendHead(make([]byte, 0, 512), recordsMessage, id)
	if !isReady(s.backend) {
		s.send(append(append(answer, byte(notReady)), errNotReady.Error()...))
		return
	}
	found, err := newQuerier(s.backend, s.backend.NetMapNoPeers()).answer(question)
	switch {
	case err == nil:
		answer = append(append(answer, byte(connected)), found...)
	case errors.Is(err, errOthersAnswer):
		answer = append(answer, byte(direct))
	default:
		answer = append(append(answer, byte(failed)), err.Error()...)
	}
	s.send(answer)
}

// answer is a whole message for the question. Search domains count for addresses alone, as in resolve: there the first candidate
// is taken that has an address of either family.
func (q querier) answer(question query) ([]byte, error) {
	isAddress := question.kind == dnsmessage.TypeA || question.kind == dnsmessage.TypeAAAA
	names := []string{question.name + "."}
	if isAddress {
		names = q.candidates(question.name)
	}
	var unknown []byte
	failed := false
	for _, name := range names {
		whole, err := wholeName(name)
		if err != nil {
			continue
		}
		isAsGiven := strings.TrimSuffix(name, ".") == question.name
		by := q.serverFor(whole)
		if by != tailnetOnly && question.unknownToOthers {
			continue
		}
		if by == container {
			return nil, errOthersAnswer
		}
		message, verdict := q.askFor(string(whole), question.kind)
		switch {
		case verdict == hasAnswer && isAsGiven:
			return message, nil
		case verdict == hasAnswer:
			return searched(question, string(whole), message)
		case by == tailnetFirst || verdict == hasNoServer:
			return nil, errOthersAnswer
		case verdict == isFaulty:
			failed = true
		case isAsGiven:
			unknown = message
		}
	}
	switch {
	case failed:
		return nil, errNoAnswer
	case unknown == nil:
		return nil, errOthersAnswer
	}
	return unknown, nil
}

// verdict says what a message means for the search.
type verdict int

const (
	// hasAnswer: the name is there, be it without records of this kind.
	hasAnswer verdict = iota
	isUnknownName
	isFaulty
	// hasNoServer: neither tailscaled nor a name server of the tailnet is there for the name.
	hasNoServer
)

// askFor asks for a whole name. A name that has an address of neither family counts as unknown where addresses are asked for.
func (q querier) askFor(name string, kind dnsmessage.Type) ([]byte, verdict) {
	message, byServer, err := q.ask(name, kind)
	if err != nil {
		return nil, isFaulty
	}
	addresses, err := addressesIn(message)
	other := dnsmessage.TypeA
	switch {
	case isUnknown(err):
		return message, isUnknownName
	case err != nil && !isSuccess(message) && !byServer:
		return nil, hasNoServer
	case err != nil && !isSuccess(message):
		return nil, isFaulty
	case kind == dnsmessage.TypeA:
		other = dnsmessage.TypeAAAA
	case kind != dnsmessage.TypeAAAA:
		return message, hasAnswer
	}
	if len(addresses) > 0 {
		return message, hasAnswer
	}
	if sibling, _, err := q.ask(name, other); err == nil {
		if addresses, _ = addressesIn(sibling); len(addresses) > 0 {
			return message, hasAnswer
		}
	}
	return message, isUnknownName
}

// isSuccess tells whether a message has the code for success, whatever its records are.
func isSuccess(message []byte) bool {
	var parser dnsmessage.Parser
	head, err := parser.Start(message)
	return err == nil && head.RCode == dnsmessage.RCodeSuccess
}

// searched is the answer to a question that another name has answered: the name asked for is an alias of that one.
func searched(question query, name string, message []byte) ([]byte, error) {
	var answer dnsmessage.Message
	if err := answer.Unpack(message); err != nil {
		return nil, err
	}
	asked, err := dnsmessage.NewName(question.name + ".")
	if err != nil {
		return nil, err
	}
	target, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, err
	}
	lifetime := uint32(0)
	if len(answer.Answers) > 0 {
		lifetime = answer.Answers[0].Header.TTL
	}
	alias := dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: asked, Class: dnsmessage.ClassINET, TTL: lifetime},
		Body:   &dnsmessage.CNAMEResource{CNAME: target},
	}
	answer.Questions = []dnsmessage.Question{{Name: asked, Type: question.kind, Class: dnsmessage.ClassINET}}
	answer.Answers = append([]dnsmessage.Resource{alias}, answer.Answers...)
	return answer.Pack()
}

// reversed is the address that a name of a reverse zone stands for (RFC 1035, section 3.5; RFC 3596, section 2.5).
func reversed(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if labels, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		address, err := netip.ParseAddr(strings.Join(backwards(strings.Split(labels, ".")), "."))
		return address, err == nil && address.Is4()
	}
	labels, ok := strings.CutSuffix(name, ".ip6.arpa")
	nibbles := backwards(strings.Split(labels, "."))
	if !ok || len(nibbles) != 32 || len(labels) != 63 {
		return netip.Addr{}, false
	}
	var text strings.Builder
	for i, nibble := range nibbles {
		if i > 0 && i%4 == 0 {
			text.WriteByte(':')
		}
		text.WriteString(nibble)
	}
	address, err := netip.ParseAddr(text.String())
	return address, err == nil
}

func backwards(labels []string) []string {
	turned := make([]string, 0, len(labels))
	for i := len(labels) - 1; i >= 0; i-- {
		turned = append(turned, labels[i])
	}
	return turned
}
