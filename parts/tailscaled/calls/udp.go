// Carries the datagrams of one client's association through the tailnet.

package calls

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// mostTargets of one association are open; a further one takes the place of the one that was silent longest.
	mostTargets = 256
	// targetIdle ends a target without datagrams in either direction (RFC 4787, section 4.3).
	targetIdle = 5 * time.Minute
	// datagramHead is the address in front of a datagram.
	datagramHead = addressLength + 2
)

// The way of a datagram, its first byte on the way here. What tetherd has judged is what is reached: never past the tailnet
// on a change of the network map.
const (
	byTailnet   = 'T'
	byContainer = 'C'
)

// association carries the datagrams of one client. Its socket (SOCK_SEQPACKET) has one datagram a message: towards the
// targets way (1), address (18), payload; back address (18), payload.
type association struct {
	ctx    context.Context
	dialer dialFunc
	client *socket

	mu      sync.Mutex
	targets map[udpTarget]*flow
}

type udpTarget struct {
	way     byte
	address netip.AddrPort
}

// flow is one target of an association.
type flow struct {
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
	// last is when a datagram passed, in ns since 1970.
	last atomic.Int64
}

// associate carries the datagrams of the socket until its other side closes it or ctx ends.
func associate(ctx context.Context, dialer dialFunc, descriptor int) error {
	client, err := newSocket(descriptor, "association")
	if err != nil {
		return err
	}
	a := &association{ctx: ctx, dialer: dialer, client: client, targets: map[udpTarget]*flow{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.carry()
	}()
	go a.watch(ended)
	return nil
}

// watch ends targets that are idle, and all of them with the association.
func (a *association) watch(ended <-chan struct{}) {
	tick := time.NewTicker(targetIdle / 10)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.drop(func(f *flow) bool { return time.Since(time.Unix(0, f.last.Load())) > targetIdle })
		case <-a.ctx.Done():
			_ = a.client.file.Close()
			// A datagram on its way may open one more target.
			<-ended
			a.drop(func(*flow) bool { return true })
			return
		case <-ended:
			_ = a.client.file.Close()
			a.drop(func(*flow) bool { return true })
			return
		}
	}
}

func (a *association) drop(which func(*flow) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for target, flow := range a.targets {
		if which(flow) {
			delete(a.targets, target)
			flow.close()
		}
	}
}

// carry sends what comes from the client.
func (a *association) carry() {
	from := streamSource{newSocketSource(a.client.raw)}
	for {
		taken, length, err := from.read(0)
		if err != nil {
			return
		}
		if length > datagramHead {
			a.send(taken[0], readAddress(taken[1:]), taken[1+datagramHead:length])
		}
		taken.giveBack()
	}
}

// send sends one datagram; it is lost like any other where that fails.
func (a *association) send(way byte, address netip.AddrPort, payload []byte) {
	flow, err := a.flow(udpTarget{way, address})
	if err != nil {
		return
	}
	flow.last.Store(time.Now().UnixNano())
	_, _ = flow.conn.Write(payload)
}

// flow returns the flow to a target, a new one where there is none.
func (a *association) flow(target udpTarget) (*flow, error) {
	a.mu.Lock()
	known := a.targets[target]
	a.mu.Unlock()
	if known != nil {
		return known, nil
	}
	conn, err := a.dial(target)
	if err != nil {
		return nil, err
	}
	added := &flow{conn: conn, closed: make(chan struct{})}
	added.last.Store(time.Now().UnixNano())
	a.mu.Lock()
	if len(a.targets) >= mostTargets {
		a.dropOldest()
	}
	a.targets[target] = added
	a.mu.Unlock()
	go func() {
		a.receive(added, target.address)
		// The next datagram to the target opens it anew.
		a.forget(target, added)
	}()
	return added, nil
}

func (a *association) dial(target udpTarget) (net.Conn, error) {
	if target.way == byContainer {
		var dialer net.Dialer
		return dialer.DialContext(a.ctx, "udp", target.address.String())
	}
	conn, outcome, err := a.dialer(a.ctx, "udp", target.address)
	if outcome == direct {
		return nil, errors.New("no node leads there any more")
	}
	return conn, err
}

// dropOldest makes room for one target. The lock is held.
func (a *association) dropOldest() {
	var oldest udpTarget
	var least int64
	for target, flow := range a.targets {
		if last := flow.last.Load(); least == 0 || last < least {
			oldest, least = target, last
		}
	}
	a.targets[oldest].close()
	delete(a.targets, oldest)
}

// forget closes a flow that receives nothing any more.
func (a *association) forget(target udpTarget, f *flow) {
	a.mu.Lock()
	if a.targets[target] == f {
		delete(a.targets, target)
	}
	a.mu.Unlock()
	f.close()
}

// receive hands back what comes from a target.
func (a *association) receive(f *flow, address netip.AddrPort) {
	from, release, err := sourceOf(f.conn, f.closed)
	if err != nil {
		return
	}
	defer release()
	for {
		taken, length, err := from.read(datagramHead)
		if errors.Is(err, syscall.ECONNREFUSED) {
			// Nobody listens there now; somebody may with the next datagram.
			continue
		}
		if err != nil {
			return
		}
		f.last.Store(time.Now().UnixNano())
		appendAddress(taken[:0], address)
		_, err = a.client.file.Write(taken[:datagramHead+length])
		taken.giveBack()
		if err != nil {
			return
		}
	}
}

func (f *flow) close() {
	f.once.Do(func() {
		close(f.closed)
		_ = f.conn.Close()
	})
}
