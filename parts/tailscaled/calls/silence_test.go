package calls

import (
	"testing"
	"time"
)

const (
	shortLimit = 50 * time.Millisecond
	// someLimit is long enough for bytes to come in between on a machine that does other things, too.
	someLimit = time.Second
)

func TestAnIdleConnectionEnds(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: limits{halfClosed: time.Hour, idle: shortLimit}})
		endArrives(t, r.client)
		endArrives(t, r.target)
		r.endsWith(t, wasIdle)
	})
}

func TestBytesInEitherDirectionKeepAConnection(t *testing.T) {
	for _, upwards := range []bool{true, false} {
		r := startRelay(t, "tcp", handOver{limits: limits{halfClosed: time.Hour, idle: someLimit}})
		for began := time.Now(); time.Since(began) < 2*someLimit; time.Sleep(someLimit / 10) {
			if upwards {
				send(t, r.client, "x")
				arrives(t, r.target, "x")
			} else {
				send(t, r.target, "x")
				arrives(t, r.client, "x")
			}
		}
		endArrives(t, r.client)
		r.endsWith(t, wasIdle)
	}
}

func TestAHalfClosedConnectionThatIsSilentEnds(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: limits{halfClosed: shortLimit}})
		_ = r.client.CloseWrite()
		endArrives(t, r.target)
		endArrives(t, r.client)
		r.endsWith(t, wasSilent)
	})
}

func TestAHalfClosedConnectionGoesOnWhileBytesCome(t *testing.T) {
	r := startRelay(t, "tcp", handOver{limits: limits{halfClosed: someLimit}})
	_ = r.client.CloseWrite()
	endArrives(t, r.target)
	for began := time.Now(); time.Since(began) < 3*someLimit; time.Sleep(someLimit / 10) {
		send(t, r.target, "x")
		arrives(t, r.client, "x")
	}
	endArrives(t, r.client)
	r.endsWith(t, wasSilent)
}

func TestAConnectionWithoutAnEndIsNotSilent(t *testing.T) {
	r := startRelay(t, "tcp", handOver{limits: limits{halfClosed: shortLimit}})
	select {
	case why := <-r.over:
		t.Errorf("ended as %d", why)
	case <-time.After(4 * shortLimit):
	}
}

func TestDrainingShortensWhatIsHalfClosed(t *testing.T) {
	for _, before := range []bool{true, false} {
		r := startRelay(t, "tcp", handOver{limits: longLimits})
		if before {
			r.drain(shortLimit)
		}
		_ = r.client.CloseWrite()
		endArrives(t, r.target)
		if !before {
			waitFor(t, "the half-close is known", func() bool {
				r.connection.mu.Lock()
				defer r.connection.mu.Unlock()
				return r.left == 1
			})
			r.drain(shortLimit)
		}
		// A longer limit later changes nothing.
		r.drain(time.Hour)
		endArrives(t, r.client)
		r.endsWith(t, wasSilent)
	}
}

func TestDrainingAnEndedConnectionArmsNothing(t *testing.T) {
	r := startRelay(t, "tcp", handOver{limits: longLimits})
	_ = r.client.CloseWrite()
	endArrives(t, r.target)
	_ = r.target.Close()
	<-r.over
	r.drain(time.Hour)
	r.connection.mu.Lock()
	defer r.connection.mu.Unlock()
	if r.timer.Stop() {
		t.Error("a timer keeps the connection in memory")
	}
}
