package calls

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

var mebibyte = strings.Repeat("0123456789abcdef", 1<<16)

// overBoth runs a test with a client over TCP, and with one over a unix socket.
func overBoth(t *testing.T, test func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

func TestTheAnswerComesAfterTheClientsEnd(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		send(t, r.client, "question")
		_ = r.client.CloseWrite()
		arrives(t, r.target, "question")
		endArrives(t, r.target)
		go func() {
			_, _ = r.target.Write([]byte(mebibyte))
			_ = r.target.Close()
		}()
		arrives(t, r.client, mebibyte)
		endArrives(t, r.client)
		r.endsWith(t, clientEnded)
		r.hasCarried(t, 8, 1<<20)
	})
}

func TestTheUploadGoesOnAfterTheTargetsEnd(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		send(t, r.target, "banner")
		_ = r.target.CloseWrite()
		arrives(t, r.client, "banner")
		endArrives(t, r.client)
		go func() {
			_, _ = r.client.Write([]byte(mebibyte))
			_ = r.client.Close()
		}()
		arrives(t, r.target, mebibyte)
		endArrives(t, r.target)
		r.endsWith(t, targetEnded)
		r.hasCarried(t, 1<<20, 6)
	})
}

func TestTheTargetHearsOfAClientThatCloses(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		send(t, r.client, "PING")
		arrives(t, r.target, "PING")
		send(t, r.target, "PONG")
		arrives(t, r.client, "PONG")
		_ = r.client.Close()
		endArrives(t, r.target)
		_ = r.target.Close()
		r.endsWith(t, clientEnded)
		r.hasCarried(t, 4, 4)
	})
}

func TestTheClientHearsOfATargetThatCloses(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		send(t, r.target, "bye")
		_ = r.target.Close()
		arrives(t, r.client, "bye")
		endArrives(t, r.client)
		_ = r.client.Close()
		r.endsWith(t, targetEnded)
		r.hasCarried(t, 0, 3)
	})
}

func TestWhatAClientSendsBeforeItClosesArrives(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		all := strings.Repeat(mebibyte, 8)
		go func() {
			_, _ = r.client.Write([]byte(all))
			_ = r.client.Close()
		}()
		// The last bytes wait in the network stack when the client has gone.
		arrives(t, r.target, all[:7<<20])
		waitFor(t, "the client's end is read", func() bool { return r.sent.own.Load() == uint64(len(all)) })
		arrives(t, r.target, all[7<<20:])
		endArrives(t, r.target)
		_ = r.target.Close()
		r.endsWith(t, clientEnded)
	})
}

func TestTheTargetIsResetByAClientThatResets(t *testing.T) {
	for _, ended := range []bool{false, true} {
		r := startRelay(t, "tcp", handOver{limits: longLimits})
		client := r.client.(*net.TCPConn)
		send(t, client, "hello")
		arrives(t, r.target, "hello")
		if ended {
			_ = client.CloseWrite()
			endArrives(t, r.target)
		}
		_ = client.SetLinger(0)
		_ = client.Close()
		if !ended {
			resetArrives(t, r.target)
		}
		// After its end, too, without a byte from the target.
		r.endsWith(t, clientReset)
		writesUntilReset(t, r.target)
	}
}

func TestAClientThatResetsWhileTheTargetDoesNotReadIsNoticedAtTheNextLook(t *testing.T) {
	r := startRelay(t, "tcp", handOver{limits: longLimits})
	client := r.client.(*net.TCPConn)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_ = client.SetWriteDeadline(time.Now().Add(time.Second))
		for {
			if _, err := client.Write([]byte(mebibyte)); err != nil {
				return
			}
		}
	}()
	<-sent
	r.endIfReset()
	if r.isClosed() {
		t.Fatal("a client that only waits is cut")
	}
	_ = client.SetLinger(0)
	_ = client.Close()
	waitFor(t, "the reset is noticed", func() bool {
		r.endIfReset()
		return r.isClosed()
	})
	r.endsWith(t, clientReset)
}

func TestTheTargetIsResetWhileItSendsToAClientThatIsGone(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		send(t, r.target, "x")
		arrives(t, r.client, "x")
		_ = r.client.Close()
		endArrives(t, r.target)
		writesUntilReset(t, r.target)
		r.endsWith(t, clientReset)
	})
}

// writesUntilReset writes until the other side resets the connection. In the state after the other side's end, the network
// stack tells of a reset as of an end.
func writesUntilReset(t *testing.T, to net.Conn) {
	t.Helper()
	_ = to.SetWriteDeadline(time.Now().Add(patience))
	for {
		if _, err := to.Write([]byte(mebibyte[:4096])); err != nil {
			if strings.Contains(err.Error(), "timeout") {
				t.Fatalf("instead of a reset: %v", err)
			}
			return
		}
	}
}

func TestAClientReadsWhatCameBeforeTheTargetsReset(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		// More than the client's kernel takes in unread, and less than this side's holds.
		length := 512 << 10
		if network == "unix" {
			length = 64 << 10
		}
		send(t, r.target, mebibyte[:length])
		waitFor(t, "the bytes are handed to the kernel", func() bool { return r.received.own.Load() == uint64(length) })
		resetEnd(t, r.target)
		if network == "unix" {
			arrives(t, r.client, mebibyte[:length])
			endArrives(t, r.client)
		} else if came := resetArrives(t, r.client); came != int64(length) {
			t.Errorf("%d bytes came before the reset, not %d", came, length)
		}
		r.endsWith(t, targetReset)
		r.hasCarried(t, 0, length)
	})
}

func TestAResetReachesAClientThatUploads(t *testing.T) {
	r := startRelay(t, "tcp", handOver{limits: longLimits})
	written := make(chan error, 1)
	go func() {
		for {
			if _, err := r.client.Write([]byte(mebibyte)); err != nil {
				written <- err
				return
			}
		}
	}()
	waitFor(t, "bytes are sent", func() bool { return r.sent.own.Load() > 0 })
	resetEnd(t, r.target)
	select {
	case err := <-written:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("instead of a reset: %v", err)
		}
	case <-time.After(patience):
		t.Error("the client hears nothing of the reset")
	}
	r.endsWith(t, targetReset)
}

func TestBytesAheadComeFirst(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits, ahead: []byte("first ")})
		arrives(t, r.target, "first ")
		send(t, r.client, "second")
		arrives(t, r.target, "second")
		_ = r.client.Close()
		_ = r.target.Close()
		<-r.over
		r.hasCarried(t, 12, 0)
	})
}

func TestBytesCountInTheTotalsWhereTheyAreReported(t *testing.T) {
	for _, reported := range []bool{true, false} {
		r := startRelay(t, "tcp", handOver{limits: longLimits, reported: reported})
		send(t, r.client, "hello")
		arrives(t, r.target, "hello")
		send(t, r.target, "answer")
		arrives(t, r.client, "answer")
		waitFor(t, "the bytes are counted", func() bool { return r.carried() == 11 })
		sent, received := r.totals.sent.Load(), r.totals.received.Load()
		if reported != (sent == 5 && received == 6) || !reported && sent+received != 0 {
			t.Errorf("reported %v: %d and %d bytes", reported, sent, received)
		}
	}
}

// A program that ends takes along what waits to be sent.
func TestTheEndIsToldWhenTheTargetHasTakenInAllThatWasSent(t *testing.T) {
	r := startRelay(t, "tcp", handOver{limits: longLimits})
	_ = r.target.CloseWrite()
	endArrives(t, r.client)
	all := mebibyte + mebibyte[:256<<10]
	go func() {
		_, _ = io.WriteString(r.client, all)
		_ = r.client.Close()
	}()
	waitFor(t, "all is handed to the stack", func() bool { return r.sent.own.Load() == uint64(len(all)) && r.isClosed() })
	select {
	case <-r.over:
		t.Fatal("the end is told while bytes wait to be sent")
	case <-time.After(100 * time.Millisecond):
	}
	arrives(t, r.target, all)
	endArrives(t, r.target)
	r.endsWith(t, targetEnded)
}

func TestACutEndsBothSides(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		send(t, r.client, "hello")
		arrives(t, r.target, "hello")
		r.end(wasCut)
		if network == "tcp" {
			resetArrives(t, r.client)
		} else {
			endArrives(t, r.client)
		}
		resetArrives(t, r.target)
		r.endsWith(t, wasCut)
		r.end(wasIdle)
	})
}

func TestACutEndsWritesThatWait(t *testing.T) {
	overBoth(t, func(t *testing.T, network string) {
		r := startRelay(t, network, handOver{limits: longLimits})
		// Neither side reads, until nothing can be written any more.
		for _, end := range []net.Conn{r.client, r.target} {
			go func() {
				for {
					if _, err := end.Write([]byte(mebibyte)); err != nil {
						return
					}
				}
			}()
		}
		before := uint64(0)
		for tick := 0; tick < 20; tick++ {
			if now := r.carried(); now != before {
				before, tick = now, 0
			}
			time.Sleep(5 * time.Millisecond)
		}
		r.end(wasCut)
		r.endsWith(t, wasCut)
	})
}
