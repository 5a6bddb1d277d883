package calls

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

func TestMessagesOfAnotherVersionEndASession(t *testing.T) {
	table := map[string]func(t *testing.T, d *tetherd, descriptor int){
		"unknown kind":                 func(t *testing.T, d *tetherd, _ int) { d.tell(t, '?', 1, nil) },
		"unknown kind with descriptor": func(t *testing.T, d *tetherd, fd int) { d.tell(t, '?', 1, nil, fd) },
		"short dial":                   func(t *testing.T, d *tetherd, _ int) { d.tell(t, dialMessage, 1, []byte{1}) },
		"short hand-over":              func(t *testing.T, d *tetherd, fd int) { d.tell(t, handOverMessage, 1, []byte{1}, fd) },
		"two descriptors": func(t *testing.T, d *tetherd, fd int) {
			_, other := unixPair(t, syscall.SOCK_STREAM)
			d.tell(t, handOverMessage, 1, handOverBody(longLimits, 1, ""), fd, other)
		},
		"short drain":        func(t *testing.T, d *tetherd, _ int) { d.tell(t, drainMessage, 1, nil) },
		"short memory limit": func(t *testing.T, d *tetherd, _ int) { d.tell(t, memoryMessage, 1, []byte{1}) },
		"too long a message": func(t *testing.T, d *tetherd, fd int) {
			d.connect(t, 1)
			_ = d.channel.SetWriteBuffer(1 << 20)
			d.tell(t, handOverMessage, 1, handOverBody(longLimits, 1, mebibyte[:largestMessage]), fd)
		},
		"no head": func(t *testing.T, d *tetherd, fd int) {
			_, _, err := d.channel.WriteMsgUnix([]byte("xy"), syscall.UnixRights(fd), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = syscall.Close(fd)
		},
	}
	for name, tell := range table {
		t.Run(name, func(t *testing.T) {
			d := openSession(t, dialStack)
			client, descriptor := socketPair(t, "unix")
			tell(t, d, descriptor)
			d.ends(t)
			// Nothing holds the client's socket any more, unless it was not sent.
			_ = syscall.Close(descriptor)
			endArrives(t, client)
			d.hasNoMore(t)
		})
	}
}

// The kernel drops a descriptor where the receiving process has no file left.
func TestWithoutADescriptorAConnectionEndsAndTheSessionGoesOn(t *testing.T) {
	d := openSession(t, dialStack)
	target := d.connect(t, 1)
	d.tell(t, associateMessage, 2, nil)
	d.tell(t, handOverMessage, 1, handOverBody(longLimits, 1, ""))
	d.hasEnded(t, 1, [4]uint64{}, wasCut)
	// Nor does a hand-over for which no dial waits end more than itself.
	client := d.hand(t, 9, "")
	d.hasEnded(t, 9, [4]uint64{}, wasCut)
	endArrives(t, client)
	endArrives(t, target)
	d.connect(t, 3)
}

func TestAllEndsWithTheChannel(t *testing.T) {
	given := make(chan struct{})
	d := openSession(t, func(ctx context.Context, network string, address netip.AddrPort) (net.Conn, outcome, error) {
		if address.Addr() == stackV4 {
			return dialStack(ctx, network, address)
		}
		<-ctx.Done()
		close(given)
		return nil, failed, ctx.Err()
	})
	d.tell(t, dialMessage, 1, appendAddress(nil, netip.MustParseAddrPort("[::1]:1")))
	waiting := d.connect(t, 2)
	target := d.connect(t, 3)
	client := d.hand(t, 3, "hello")
	arrives(t, target, "hello")
	association, descriptor := unixPair(t, syscall.SOCK_SEQPACKET)
	d.tell(t, associateMessage, 4, nil, descriptor)
	_ = d.channel.Close()
	<-given
	endArrives(t, waiting)
	resetArrives(t, target)
	resetArrives(t, client)
	endArrives(t, association)
	d.ends(t)
	waitFor(t, "nothing is left", func() bool {
		d.session.mu.Lock()
		defer d.session.mu.Unlock()
		return len(d.dials)+len(d.dialled)+len(d.connections) == 0
	})
}
