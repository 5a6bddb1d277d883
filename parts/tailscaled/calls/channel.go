// Accepts the channel of a session, a SOCK_SEQPACKET socket, after the upgrade.

package calls

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// rightsTimeout is how long a client may take to send its channel after the upgrade.
const rightsTimeout = 5 * time.Second

// acceptChannel answers the upgrade and receives the channel: a socket of the type SOCK_SEQPACKET, sent with one byte.
func acceptChannel(conn net.Conn) (*net.UnixConn, error) {
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("the LocalAPI is not on a unix socket but on %T", conn)
	}
	_ = local.SetDeadline(time.Now().Add(rightsTimeout))
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: " + upgradeProtocol + "\r\n\r\n"
	if _, err := local.Write([]byte(head)); err != nil {
		return nil, err
	}
	oob := make([]byte, syscall.CmsgSpace(4))
	_, length, _, _, err := local.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	descriptor, err := descriptorIn(oob[:length])
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(descriptor), "tetherd session")
	defer file.Close()
	channel, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	if channel, ok := channel.(*net.UnixConn); ok {
		return channel, nil
	}
	_ = channel.Close()
	return nil, fmt.Errorf("the channel is no unix socket but %T", channel)
}

// descriptorIn takes the descriptor out of a control message.
func descriptorIn(oob []byte) (int, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return -1, errors.Join(errors.New("no descriptor came"), err)
	}
	descriptors, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(descriptors) != 1 {
		// Room for one is room for two, by the alignment of control messages.
		for _, descriptor := range descriptors {
			_ = syscall.Close(descriptor)
		}
		return -1, errors.Join(errors.New("one descriptor was expected"), err)
	}
	return descriptors[0], nil
}

// receive receives one message, with its descriptor or -1.
func (s *session) receive(datagram, oob []byte) (length, descriptor int, err error) {
	length, oobLength, flags, _, err := s.channel.ReadMsgUnix(datagram, oob)
	if err != nil {
		return 0, -1, err
	}
	descriptor = -1
	if oobLength > 0 {
		if descriptor, err = descriptorIn(oob[:oobLength]); err != nil {
			return 0, -1, err
		}
	}
	if flags&syscall.MSG_TRUNC != 0 {
		closeDescriptor(descriptor)
		return 0, -1, errors.New("message is too long")
	}
	return length, descriptor, nil
}

func closeDescriptor(descriptor int) {
	if descriptor >= 0 {
		_ = syscall.Close(descriptor)
	}
}
