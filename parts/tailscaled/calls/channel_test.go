package calls

import (
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestAChannelIsAccepted(t *testing.T) {
	leavesNothing(t)
	request, served := unixPair(t, syscall.SOCK_STREAM)
	channel, descriptor := unixPair(t, syscall.SOCK_SEQPACKET)
	accepted := make(chan *net.UnixConn, 1)
	go func() {
		conn, err := connOf(served)
		if err == nil {
			defer conn.Close()
			conn, err = acceptChannel(conn)
		}
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}()
	arrives(t, request, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tetherd-session\r\n\r\n")
	if _, _, err := request.WriteMsgUnix([]byte{0}, syscall.UnixRights(descriptor), nil); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Close(descriptor)
	conn := <-accepted
	defer conn.Close()
	send(t, channel, "one")
	send(t, channel, "two")
	arrives(t, conn, "one")
	arrives(t, conn, "two")
}

func TestWhatIsNoChannelIsRefused(t *testing.T) {
	descriptors := map[string]func(t *testing.T) []int{
		"none": func(*testing.T) []int { return nil },
		"two": func(t *testing.T) []int {
			_, one := unixPair(t, syscall.SOCK_SEQPACKET)
			_, other := unixPair(t, syscall.SOCK_SEQPACKET)
			return []int{one, other}
		},
		"a TCP socket": func(t *testing.T) []int {
			_, descriptor := socketPair(t, "tcp")
			return []int{descriptor}
		},
	}
	for name, sent := range descriptors {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			request, served := unixPair(t, syscall.SOCK_STREAM)
			conn := must[*net.UnixConn](t)(connOf(served))
			defer conn.Close()
			rights := []byte(nil)
			descriptors := sent(t)
			if len(descriptors) > 0 {
				rights = syscall.UnixRights(descriptors...)
			}
			if _, _, err := request.WriteMsgUnix([]byte{0}, rights, nil); err != nil {
				t.Fatal(err)
			}
			for _, descriptor := range descriptors {
				_ = syscall.Close(descriptor)
			}
			if _, err := acceptChannel(conn); err == nil {
				t.Error("accepted")
			}
		})
	}
	one, other := net.Pipe()
	defer other.Close()
	defer one.Close()
	if _, err := acceptChannel(one); err == nil || !strings.Contains(err.Error(), "unix socket") {
		t.Errorf("a pipe: %v", err)
	}
}

// connOf makes a connection of the descriptor of a unix socket.
func connOf(descriptor int) (*net.UnixConn, error) {
	handed, err := newSocket(descriptor, "channel")
	if err != nil {
		return nil, err
	}
	defer handed.file.Close()
	conn, err := net.FileConn(handed.file)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%T: %w", conn, io.ErrUnexpectedEOF)
	}
	return unixConn, nil
}
