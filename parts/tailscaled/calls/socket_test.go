package calls

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// handedSocket is a socket as tailscaled has it after a hand-over, and the client's end.
func handedSocket(t *testing.T, network string) (*socket, client) {
	t.Helper()
	leavesNothing(t)
	client, descriptor := socketPair(t, network)
	handed := must[*socket](t)(newSocket(descriptor, "client"))
	t.Cleanup(func() { _ = handed.file.Close() })
	return handed, client
}

// goneIn tells what gone returns, once it does.
func goneIn(s *socket) <-chan error {
	told := make(chan error, 1)
	go func() { told <- s.gone() }()
	return told
}

func TestAClientThatHasEndedIsNotGone(t *testing.T) {
	ends := map[string]func(*socket, client){
		"half-closed":                        func(_ *socket, c client) { _ = c.CloseWrite() },
		"half-closed on both sides":          func(s *socket, c client) { _ = c.CloseWrite(); s.closeWrite() },
		"closed, which may mean half-closed": func(_ *socket, c client) { _ = c.Close() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, network string) {
				handed, client := handedSocket(t, network)
				end(handed, client)
				told := goneIn(handed)
				select {
				case err := <-told:
					t.Errorf("gone, %v", err)
				case <-time.After(shortLimit):
				}
				_ = handed.file.Close()
				if err := <-told; err == nil {
					t.Error("gone, though this side has closed")
				}
			})
		})
	}
}

func TestAClientThatResetsAfterItsEndIsGone(t *testing.T) {
	handed, client := handedSocket(t, "tcp")
	_ = client.CloseWrite()
	told := goneIn(handed)
	_ = client.(*net.TCPConn).SetLinger(0)
	_ = client.Close()
	select {
	case err := <-told:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("not told")
	}
}

func TestAWaitForAReaderIsBounded(t *testing.T) {
	handed, client := handedSocket(t, "tcp")
	_ = handed.file.SetWriteDeadline(time.Now().Add(shortLimit))
	for {
		if _, err := io.WriteString(handed.file, mebibyte); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	began := time.Now()
	handed.drained(shortLimit, nil)
	if took := time.Since(began); took < shortLimit || handed.waiting() == 0 {
		t.Errorf("waited %v for %d bytes", took, handed.waiting())
	}
	closed := make(chan struct{})
	close(closed)
	handed.drained(time.Hour, closed)
	go func() { _, _ = io.Copy(io.Discard, client) }()
	handed.drained(time.Hour, nil)
	if handed.waiting() != 0 {
		t.Errorf("%d bytes wait", handed.waiting())
	}
}

func TestASocketIsReadToItsEnd(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		handed, client := handedSocket(t, network)
		from := streamSource{newSocketSource(handed.raw)}
		send(t, client, "hello")
		taken, length, err := from.read(2)
		if err != nil || string(taken[2:2+length]) != "hello" {
			t.Fatalf("%d bytes, %v", length, err)
		}
		taken.giveBack()
		_ = client.Close()
		if _, _, err := from.read(0); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	})
}

func TestADescriptorThatIsNoneIsRefused(t *testing.T) {
	if _, err := newSocket(1<<20, "none"); !errors.Is(err, syscall.EBADF) {
		t.Error(err)
	}
}
