// Sets the memory limit of the Go runtime, and holds uploads up beyond it.

package calls

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// beyondPercent of the limit may be taken before uploads are held up: the garbage collector is late by as much.
	beyondPercent = 115
	// sampleEvery is how long a look at the heap is good for; one takes some µs.
	sampleEvery = 5 * time.Millisecond
	// longestPause is that of one block, so that nothing stands still.
	longestPause = 200 * time.Millisecond
)

var (
	lastSample atomic.Int64
	isBeyond   atomic.Bool
)

// setMemoryLimit bounds the memory of the Go runtime, in bytes, from now on.
func setMemoryLimit(limit uint64) {
	debug.SetMemoryLimit(int64(min(limit, math.MaxInt64)))
}

func memoryLimit() int64 {
	return debug.SetMemoryLimit(-1)
}

// holdWhileShort pauses while the program takes more memory than its limit allows. What waits to be sent through the
// tailnet is up to 6 MiB for each connection, and no garbage: pausing lets it go out first. What targets send is not held
// up, since reading it is what frees its memory.
func holdWhileShort(closed <-chan struct{}) {
	if !memoryIsShort() {
		return
	}
	deadline := time.Now().Add(longestPause)
	for memoryIsShort() && time.Now().Before(deadline) {
		select {
		case <-time.After(sampleEvery):
		case <-closed:
			return
		}
	}
}

func memoryIsShort() bool {
	now := time.Now().UnixNano()
	last := lastSample.Load()
	if now-last >= int64(sampleEvery) && lastSample.CompareAndSwap(last, now) {
		limit := memoryLimit()
		isBeyond.Store(limit != math.MaxInt64 && memoryTaken() > uint64(limit)/100*beyondPercent)
	}
	return isBeyond.Load()
}

// memoryTaken is what the memory limit bounds: all that the runtime has of the system, without what it has given back.
func memoryTaken() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
