// Outcomes of dials and look-ups, made of the errors of gVisor and the kernel.

package calls

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// outcome is how a dial or a lookup went, as it goes over the wire.
type outcome byte

const (
	connected          outcome = 0
	direct             outcome = 1
	refused            outcome = 2
	networkUnreachable outcome = 3
	hostUnreachable    outcome = 4
	timedOut           outcome = 5
	nameUnknown        outcome = 6
	failed             outcome = 7
	// notReady: the control server has not told of the tailnet yet. Nothing could be said of any name or address.
	notReady outcome = 8
)

// netstackOutcomes has the errors of gVisor's network stack by their texts: its adapter for Go's net package (gonet)
// keeps nothing but those.
var netstackOutcomes = map[string]outcome{
	(&tcpip.ErrConnectionRefused{}).String():  refused,
	(&tcpip.ErrConnectionReset{}).String():    refused,
	(&tcpip.ErrTimeout{}).String():            timedOut,
	(&tcpip.ErrHostUnreachable{}).String():    hostUnreachable,
	(&tcpip.ErrHostDown{}).String():           hostUnreachable,
	(&tcpip.ErrNetworkUnreachable{}).String(): networkUnreachable,
	(&tcpip.ErrNoNet{}).String():              networkUnreachable,
}

var systemOutcomes = map[syscall.Errno]outcome{
	syscall.ECONNREFUSED:  refused,
	syscall.ECONNRESET:    refused,
	syscall.ETIMEDOUT:     timedOut,
	syscall.EHOSTUNREACH:  hostUnreachable,
	syscall.EHOSTDOWN:     hostUnreachable,
	syscall.ENETUNREACH:   networkUnreachable,
	syscall.EADDRNOTAVAIL: networkUnreachable,
}

// outcomeOf tells what an error of a dial means.
func outcomeOf(err error) outcome {
	var unknown *net.DNSError
	if errors.As(err, &unknown) {
		if unknown.IsTimeout {
			return timedOut
		}
		return nameUnknown
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return timedOut
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		if known, ok := systemOutcomes[number]; ok {
			return known
		}
	}
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Err != nil {
		if known, ok := netstackOutcomes[operation.Err.Error()]; ok {
			return known
		}
	}
	return failed
}
