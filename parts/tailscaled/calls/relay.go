// Relays between a client's socket and its connection through the tailnet.

package calls

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// takeInLimit is how long a reset waits for the client to take in what came before it.
const takeInLimit = 5 * time.Second

// ending says who ended a connection, as it goes over the wire.
type ending byte

const (
	clientEnded ending = 1
	targetEnded ending = 2
	clientReset ending = 3
	targetReset ending = 4
	wasIdle     ending = 5
	// wasSilent: one side had ended, and the other said nothing for as long as the limit is.
	wasSilent ending = 6
	wasCut    ending = 7
)

// counter counts bytes of one direction of one connection, and adds them to those of all.
type counter struct {
	own atomic.Uint64
	// all is nil where tetherd counts by itself.
	all *atomic.Uint64
}

func (c *counter) add(bytes int) {
	c.own.Add(uint64(bytes))
	if c.all != nil {
		c.all.Add(uint64(bytes))
	}
}

// totals are the bytes of all connections of a session that are reported.
type totals struct{ sent, received atomic.Uint64 }

// connection is a client's connection to a target, relayed here from its hand-over to its end.
type connection struct {
	client *socket
	target *remote
	// over is told of the end, once.
	over           func(*connection, ending)
	sent, received counter

	mu     sync.Mutex
	limits limits
	// first is who ended first, or the reason to end both.
	first ending
	// drains: the daemon stops.
	drains bool
	// left counts the directions that go on.
	left int
	// sending: bytes are being handed to the target.
	sending atomic.Bool
	// unread: the client still sends what the target does not take. Closing its socket then resets it.
	unread atomic.Bool
	timer  *time.Timer
	// closed is closed with both sockets.
	closed chan struct{}
}

// relay carries bytes between client and target until both have ended, and tells over of it.
// Where its bytes are reported they count in the totals, too.
func relay(client *socket, target *remote, handed handOver, all *totals, over func(*connection, ending)) *connection {
	c := &connection{
		client: client,
		target: target,
		over:   over,
		limits: handed.limits,
		left:   2,
		closed: make(chan struct{}),
	}
	if handed.reported {
		c.sent.all, c.received.all = &all.sent, &all.received
	}
	if handed.limits.idle > 0 {
		go c.watchIdle(handed.limits.idle)
	}
	go c.download()
	go c.upload(handed.ahead)
	return c
}

// upload carries what the client sends.
func (c *connection) upload(ahead []byte) {
	if len(ahead) > 0 && c.send(ahead) != nil {
		c.ended(targetEnded)
		return
	}
	// The goroutine lasts, what was sent need not.
	ahead = nil
	from := streamSource{newSocketSource(c.client.raw)}
	for {
		taken, length, err := from.read(0)
		if err == nil {
			holdWhileShort(c.closed)
			err = c.send(taken[:length])
			taken.giveBack()
			if err != nil {
				// Why, the other direction finds out, once it has read what the target said before.
				c.ended(targetEnded)
				return
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			// Noted before the target hears of it: it may end at once, too.
			if c.ended(clientEnded) {
				_ = c.target.closeWrite()
				if c.client.gone() == nil {
					c.end(clientReset)
				}
			}
			return
		}
		c.end(clientReset)
		c.ended(clientReset)
		return
	}
}

// send hands bytes to the target, and waits for as long as it does not read.
func (c *connection) send(bytes []byte) error {
	c.sending.Store(true)
	_, err := c.target.Write(bytes)
	c.sending.Store(false)
	if err != nil {
		c.unread.Store(true)
		return err
	}
	c.sent.add(len(bytes))
	return nil
}

// endIfReset ends a connection whose client has reset it while the target does not read, which nothing else notices.
func (c *connection) endIfReset() {
	if c.sending.Load() && c.client.isReset() {
		c.end(clientReset)
	}
}

// download carries what the target sends.
func (c *connection) download() {
	from, release, err := c.target.source(c.closed)
	if err != nil {
		c.end(wasCut)
		c.ended(wasCut)
		return
	}
	defer release()
	for {
		taken, length, err := from.read(0)
		if err == nil {
			err = c.client.write(taken[:length], &c.received)
			taken.giveBack()
			if err != nil {
				// The client has closed its socket: as its kernel would, the target is told that nobody reads.
				c.end(clientReset)
				c.ended(clientReset)
				return
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			if c.ended(targetEnded) {
				c.client.closeWrite()
			}
			return
		}
		c.client.drained(takeInLimit, c.closed)
		c.end(targetReset)
		c.ended(targetReset)
		return
	}
}

// ended notes that one direction is over, and says whether the other goes on.
func (c *connection) ended(by ending) bool {
	c.mu.Lock()
	c.left--
	goesOn := c.left > 0
	if c.first == 0 {
		c.first = by
	}
	if goesOn {
		c.arm()
	}
	c.mu.Unlock()
	if goesOn {
		return true
	}
	if c.unread.Load() {
		c.client.drained(takeInLimit, c.closed)
	}
	c.mu.Lock()
	first := c.first
	c.close(first)
	c.mu.Unlock()
	c.target.flushed()
	c.over(c, first)
	return false
}

// end ends both directions for a reason that counts more than who ended first; the first such reason counts.
func (c *connection) end(why ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isClosed() {
		c.first = why
		c.close(why)
	}
}

func (c *connection) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// close closes both sockets, in the manner of the reason. The lock is held.
func (c *connection) close(why ending) {
	if c.isClosed() {
		return
	}
	close(c.closed)
	if c.timer != nil {
		c.timer.Stop()
	}
	switch why {
	case clientReset:
		c.target.reset()
		_ = c.client.file.Close()
	case targetReset:
		c.client.reset()
		_ = c.target.Close()
	case wasCut:
		// Neither side is to take what it has got for all there is.
		c.target.reset()
		c.client.reset()
	default:
		_ = c.target.Close()
		_ = c.client.file.Close()
	}
}

// carried is all that was carried, in both directions.
func (c *connection) carried() uint64 {
	return c.sent.own.Load() + c.received.own.Load()
}

// arm ends a half-closed connection when it has been silent for its limit, at most as long again later. The lock is held.
func (c *connection) arm() {
	if c.isClosed() {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	before := c.progress()
	c.timer = time.AfterFunc(c.limits.halfClosed, func() {
		c.mu.Lock()
		now := c.progress()
		if now != before {
			c.arm()
		}
		c.mu.Unlock()
		if now == before {
			c.end(wasSilent)
		}
	})
}

// progress changes while anything moves. At a stop what the target acknowledges counts, too: it may have been sent before. (Not at
// other times, when it may be no more than a sign of life.) The lock is held.
func (c *connection) progress() uint64 {
	if c.drains {
		return c.carried() + c.target.segmentsReceived()
	}
	return c.carried()
}

// drain shortens the limit of a half-closed connection, at once where it is one.
func (c *connection) drain(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drains = true
	c.limits.halfClosed = min(c.limits.halfClosed, limit)
	if c.timer != nil {
		c.arm()
	}
}

// watchIdle ends the connection when it has carried nothing for limit, an eighth of it later at the latest.
func (c *connection) watchIdle(limit time.Duration) {
	tick := time.NewTicker(max(limit/8, time.Millisecond))
	defer tick.Stop()
	before, since := c.carried(), time.Now()
	for {
		select {
		case <-c.closed:
			return
		case <-tick.C:
		}
		if now := c.carried(); now != before {
			before, since = now, time.Now()
		} else if time.Since(since) >= limit {
			c.end(wasIdle)
			return
		}
	}
}
