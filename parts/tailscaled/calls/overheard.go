// Hears what name servers answer to Go's resolver, which keeps the aliases of a name to itself.

package calls

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
)

// overheard has the bytes that came over each connection of one look-up.
type overheard struct {
	mu       sync.Mutex
	messages [][]byte
	streams  []*heardStream
}

func (o *overheard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if packets, ok := conn.(*net.UDPConn); ok {
		return heardPackets{packets, o}, nil
	}
	stream := &heardStream{Conn: conn, by: o}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.streams = append(o.streams, stream)
	return stream, nil
}

// names are those of all answers. Some may be to another question, or of nobody who was asked: they are only judged by what is
// denied.
func (o *overheard) names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var names []string
	for _, message := range o.messages {
		names = append(names, namesIn(message)...)
	}
	for _, stream := range o.streams {
		for rest := stream.came; len(rest) >= 2; {
			length := int(binary.BigEndian.Uint16(rest))
			if len(rest) < 2+length {
				break
			}
			names, rest = append(names, namesIn(rest[2:2+length])...), rest[2+length:]
		}
	}
	return names
}

// heardPackets stays a net.PacketConn, by which Go's resolver tells how messages are framed.
type heardPackets struct {
	*net.UDPConn
	by *overheard
}

func (p heardPackets) Read(into []byte) (int, error) {
	length, err := p.UDPConn.Read(into)
	p.by.mu.Lock()
	defer p.by.mu.Unlock()
	p.by.messages = append(p.by.messages, append([]byte(nil), into[:max(length, 0)]...))
	return length, err
}

// heardStream carries messages with their lengths (2 bytes) before them.
type heardStream struct {
	net.Conn
	by   *overheard
	came []byte
}

func (s *heardStream) Read(into []byte) (int, error) {
	length, err := s.Conn.Read(into)
	s.by.mu.Lock()
	defer s.by.mu.Unlock()
	s.came = append(s.came, into[:max(length, 0)]...)
	return length, err
}
