package calls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// stackError is an error as gVisor's adapter hands it on.
func stackError(err tcpip.Error) error {
	return &net.OpError{Op: "connect", Net: "tcp", Err: errors.New(err.String())}
}

// systemError is an error as Go's net package hands it on.
func systemError(number syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", number)}
}

func TestEveryErrorOfADialHasItsOutcome(t *testing.T) {
	table := []struct {
		err  error
		want outcome
	}{
		{stackError(&tcpip.ErrConnectionRefused{}), refused},
		{stackError(&tcpip.ErrConnectionReset{}), refused},
		{stackError(&tcpip.ErrTimeout{}), timedOut},
		{stackError(&tcpip.ErrHostUnreachable{}), hostUnreachable},
		{stackError(&tcpip.ErrHostDown{}), hostUnreachable},
		{stackError(&tcpip.ErrNetworkUnreachable{}), networkUnreachable},
		{stackError(&tcpip.ErrNoNet{}), networkUnreachable},
		{stackError(&tcpip.ErrAborted{}), failed},
		{systemError(syscall.ECONNREFUSED), refused},
		{systemError(syscall.ECONNRESET), refused},
		{systemError(syscall.ETIMEDOUT), timedOut},
		{systemError(syscall.EHOSTUNREACH), hostUnreachable},
		{systemError(syscall.EHOSTDOWN), hostUnreachable},
		{systemError(syscall.ENETUNREACH), networkUnreachable},
		{systemError(syscall.EADDRNOTAVAIL), networkUnreachable},
		{systemError(syscall.EPERM), failed},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, nameUnknown},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, timedOut},
		{fmt.Errorf("lookup: %w", &net.DNSError{Err: "no such host"}), nameUnknown},
		{context.DeadlineExceeded, timedOut},
		{os.ErrDeadlineExceeded, timedOut},
		{fmt.Errorf("dial: %w", context.DeadlineExceeded), timedOut},
		{context.Canceled, failed},
		{&net.OpError{Op: "dial"}, failed},
		{errors.New("something else"), failed},
	}
	for _, test := range table {
		if found := outcomeOf(test.err); found != test.want {
			t.Errorf("%v: %d and not %d", test.err, found, test.want)
		}
	}
}

func TestDialsOfTheStackHaveTheirOutcomes(t *testing.T) {
	_, address := listenInside(t)
	ended, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	table := []struct {
		name    string
		ctx     context.Context
		address netip.AddrPort
		want    outcome
	}{
		{"a listener", context.Background(), address, connected},
		{"nobody listens", context.Background(), netip.AddrPortFrom(stackV4, freePort()), refused},
		{"nobody listens, IPv6", context.Background(), netip.AddrPortFrom(stackV6, freePort()), refused},
		{"too late", ended, address, timedOut},
	}
	for _, test := range table {
		conn, found, err := dialStack(test.ctx, "tcp", test.address)
		if found != test.want {
			t.Errorf("%s: %d and not %d (%v)", test.name, found, test.want, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
}
