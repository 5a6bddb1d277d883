package calls

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

// patience is how long a test waits for what should be there at once.
const patience = 10 * time.Second

// TestMain opens what the runtime opens once and keeps, so that tests can compare.
func TestMain(m *testing.M) {
	if listener, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = listener.Close()
	}
	testStack()
	os.Exit(m.Run())
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// leavesNothing checks at the end of a test that it has left no goroutine and no descriptor behind.
func leavesNothing(t *testing.T) {
	t.Helper()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		waitFor(t, "every goroutine has ended", func() bool { return runtime.NumGoroutine() <= goroutines })
		waitFor(t, "every descriptor is closed", func() bool { return openDescriptors(t) <= descriptors })
	})
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
