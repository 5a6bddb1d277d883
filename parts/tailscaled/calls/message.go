// Messages between tetherd and tailscaled: kinds, bodies, and their encoding.

package calls

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Kinds of messages to tailscaled. Each begins with its kind (1 byte) and an id (4 bytes), which tetherd chooses and
// the answer carries. Numbers are little-endian, addresses take 16 bytes (IPv4 as IPv4-mapped IPv6).
const (
	// Dials: address (16), port (2). Answered by outcomeMessage.
	dialMessage = 'D'
	// Hands the client of a connected dial over: half-close limit in ms (4), idle limit in ms (4; 0 is none), whether its
	// bytes count in reports of traffic (1), bytes that the client has sent already; with the client's socket. Answered by
	// endedMessage when the connection has ended.
	handOverMessage = 'H'
	// Gives up a dial, or ends a connection. No answer, but for the end of a connection.
	cutMessage = 'C'
	// Looks up a name: the name. Answered by namesMessage.
	resolveMessage = 'N'
	// Asks a question of DNS: flags (1; 1 is that the container's name servers know no such name), type (2), the whole name.
	// Answered by recordsMessage.
	queryMessage = 'R'
	// Opens an association for datagrams, with its socket (SOCK_SEQPACKET). Ends with that socket.
	associateMessage = 'U'
	// From now on half-closed connections end soon after their last byte: limit in ms (4). No answer.
	drainMessage = 'Q'
	// Cuts all connections. No answer, but for the end of each.
	cutAllMessage = 'A'
	// Sets the memory limit in bytes (8). No answer.
	memoryMessage = 'M'
	// Asks for the bytes carried so far. Answered by trafficMessage.
	trafficMessage = 'T'
)

// Kinds of messages to tetherd.
const (
	// How a dial went: code (1), then for connected the own address (16) and port (2), else a text.
	outcomeMessage = 'D'
	// A connection has ended: bytes sent and received (8 each), the session's totals as in trafficMessageAnswer, reason (1).
	endedMessage = 'E'
	// What a name stands for: code (1), then for connected whether the tailnet answers for the name (1), the number of whole
	// names (1), each with its length (1) before it, and as many places (1) with addresses (16 each) as follow; else a text.
	// The first of the names has answered, the others are its aliases.
	namesMessage = 'N'
	// What the tailnet answers to a question: code (1), then for connected the message of DNS, for direct nothing, since the
	// container's name servers are to be asked, else a text.
	recordsMessage = 'R'
	// Bytes that the session's connections have sent and received so far (8 each), without those that tetherd counts itself.
	// They never fall: an answer that is lost, or overtaken by a later one, costs nothing.
	trafficMessageAnswer = 'T'
)

const (
	headLength    = 5
	addressLength = 16
	// largestMessage holds a hand-over with as much as tetherd reads ahead of one.
	largestMessage = 128 << 10
	// longestNames is how long all names of one host may be, each with its length: 15 of the longest.
	longestNames = 15 * 254
)

var (
	errShort = errors.New("message is too short")
	// errManyNames: what is not told could not be judged.
	errManyNames = errors.New("the name has too many aliases")
)

// message is one message without its kind.
type message struct {
	id   uint32
	body []byte
}

func parse(datagram []byte) (kind byte, m message, err error) {
	if len(datagram) < headLength {
		return 0, message{}, errShort
	}
	return datagram[0], message{binary.LittleEndian.Uint32(datagram[1:]), datagram[headLength:]}, nil
}

func (m message) address() (netip.AddrPort, error) {
	if len(m.body) < addressLength+2 {
		return netip.AddrPort{}, errShort
	}
	return readAddress(m.body), nil
}

// limits says how long a connection may be silent.
type limits struct {
	// halfClosed counts once one side has ended.
	halfClosed time.Duration
	// idle counts always; 0 is no limit.
	idle time.Duration
}

// handOver is what comes with a client's socket.
type handOver struct {
	limits limits
	// reported: the connection's bytes count in the session's totals.
	reported bool
	// ahead is what the client has sent already.
	ahead []byte
}

func (m message) handOver() (handOver, error) {
	if len(m.body) < 9 {
		return handOver{}, errShort
	}
	limits := limits{milliseconds(m.body), milliseconds(m.body[4:])}
	return handOver{limits, m.body[8] != 0, append([]byte(nil), m.body[9:]...)}, nil
}

func (m message) query() (query, error) {
	if len(m.body) < 3 {
		return query{}, errShort
	}
	kind := dnsmessage.Type(binary.LittleEndian.Uint16(m.body[1:]))
	return query{string(m.body[3:]), kind, m.body[0]&1 != 0}, nil
}

func (m message) milliseconds() (time.Duration, error) {
	if len(m.body) < 4 {
		return 0, errShort
	}
	return milliseconds(m.body), nil
}

func (m message) number() (uint64, error) {
	if len(m.body) < 8 {
		return 0, errShort
	}
	return binary.LittleEndian.Uint64(m.body), nil
}

func milliseconds(bytes []byte) time.Duration {
	return time.Duration(binary.LittleEndian.Uint32(bytes)) * time.Millisecond
}

func readAddress(bytes []byte) netip.AddrPort {
	address := netip.AddrFrom16([addressLength]byte(bytes)).Unmap()
	return netip.AddrPortFrom(address, binary.LittleEndian.Uint16(bytes[addressLength:]))
}

func appendHead(to []byte, kind byte, id uint32) []byte {
	return binary.LittleEndian.AppendUint32(append(to, kind), id)
}

func appendIP(to []byte, address netip.Addr) []byte {
	bytes := address.As16()
	return append(to, bytes[:]...)
}

func appendAddress(to []byte, address netip.AddrPort) []byte {
	return binary.LittleEndian.AppendUint16(appendIP(to, address.Addr()), address.Port())
}

// appendFound appends the body of namesMessage.
//
// It fails where the names are too many.
func appendFound(to []byte, found found, places []place) ([]byte, error) {
	names := distinct(found.names)
	if length := len(strings.Join(names, ".")) + 1; length > longestNames || len(names) > 255 {
		return nil, errManyNames
	}
	to = append(to, byte(connected), bit(found.own), byte(len(names)))
	for _, name := range names {
		// The length of a name of DNS, 253 bytes at most, fits a byte. One of the hosts file may be longer: it is cut.
		name = name[:min(len(name), 255)]
		to = append(append(to, byte(len(name))), name...)
	}
	for _, place := range places {
		to = appendIP(append(to, bit(place.inside)), place.address)
	}
	return to, nil
}

func bit(is bool) byte {
	if is {
		return 1
	}
	return 0
}
