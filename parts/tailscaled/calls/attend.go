// Attends a session's connections: ends unnoticed resets, gives memory back.

package calls

import (
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// lookEvery is how often the connections are looked after.
	lookEvery = time.Second
	// manyConnections take so much while they are silent that memory is given back at the first look that finds them so.
	// Else it waits for as many looks as quietLooks: what comes again a moment later has to be faulted in anew, which took a
	// tenth of the throughput of 8 streams with pauses of 2 s.
	manyConnections = 100
	quietLooks      = 10
	// worthTrimming is how much must have been taken since memory was given back last, in bytes: a garbage collection is
	// some ms of a core.
	worthTrimming = 4 << 20
)

// attend looks after the session's connections once a second while there are any: it ends those that their clients have reset
// unnoticed, and gives memory back to the system when connections fall silent after a time of traffic: wireguard-go's buffers
// (64 KiB each), which wait for a garbage collection that a silent program does not have, and the stacks of goroutines
// that have grown while they sent. It ends when no connection is left and all is given back; the session begins it anew.
func (s *session) attend() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	before, quiet := uint64(0), 0
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		s.endReset()
		carried, open := s.carried()
		if carried != before {
			before, quiet = carried, 0
			continue
		}
		if quiet++; quiet < quietLooks && open < manyConnections {
			continue
		}
		s.giveBack()
		if open == 0 && s.endAttending() {
			return
		}
	}
}

// giveBack gives memory back where enough was taken since the last time.
func (s *session) giveBack() {
	taken := memoryTaken()
	if taken > s.trimmedTo+worthTrimming {
		trim()
		taken = memoryTaken()
	}
	s.trimmedTo = taken
}

// trim gives back what is not in use. What a pool holds goes with the second collection, and each one halves stacks.
func trim() {
	runtime.GC()
	debug.FreeOSMemory()
}

// endReset ends connections that their clients have reset while their targets do not read.
func (s *session) endReset() {
	for _, connection := range s.all() {
		connection.endIfReset()
	}
}

// carried is what all connections have carried since the session began, and how many are open.
func (s *session) carried() (bytes uint64, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes = s.carriedByEnded
	for _, connection := range s.connections {
		bytes += connection.carried()
	}
	return bytes, len(s.connections)
}

// beginToAttend is called with the lock held when there is a connection.
func (s *session) beginToAttend() {
	if !s.attends {
		s.attends = true
		go s.attend()
	}
}

// endAttending says whether there is nothing to wait for any more.
func (s *session) endAttending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attends = len(s.connections) > 0
	return !s.attends
}
