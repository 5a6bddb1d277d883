//go:build !race

package calls

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// Not with the race detector: it lets a pool lose what is given back, and keeps more on the stack.
func TestIdleConnectionsHoldNoBuffer(t *testing.T) {
	var held atomic.Int32
	ordinary := buffers.New
	buffers.New = func() any {
		taken := new(buffer)
		held.Add(1)
		runtime.SetFinalizer(taken, func(*buffer) { held.Add(-1) })
		return taken
	}
	t.Cleanup(func() { buffers.New = ordinary })
	const connections = 500
	before := memoryInUse()
	opened := [connections]*relayed{}
	for i := range opened {
		opened[i] = startRelay(t, "tcp", handOver{limits: longLimits})
		send(t, opened[i].client, "hello")
		arrives(t, opened[i].target, "hello")
	}
	each := (memoryInUse() - before) / connections
	t.Logf("%d bytes for each of %d idle connections, with the ends of the client and the target", each, len(opened))
	waitFor(t, "all but a few buffers are given back", func() bool {
		runtime.GC()
		return held.Load() < 10
	})
	runtime.KeepAlive(opened)
}

// memoryInUse is what heap and stacks take after garbage is collected, in bytes.
func memoryInUse() uint64 {
	runtime.GC()
	// The second one empties the pool of buffers.
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc + stats.StackInuse
}
