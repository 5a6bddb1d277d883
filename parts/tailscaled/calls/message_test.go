package calls

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestAMessageHasAKindAndAnID(t *testing.T) {
	kind, m, err := parse([]byte{'D', 1, 2, 0, 0x80, 7, 8})
	if err != nil || kind != 'D' || m.id != 0x80000201 || !bytes.Equal(m.body, []byte{7, 8}) {
		t.Errorf("%q %x %v %v", kind, m.id, m.body, err)
	}
	if head := appendHead(nil, 'D', 0x80000201); !bytes.Equal(head, []byte{'D', 1, 2, 0, 0x80}) {
		t.Errorf("written: %v", head)
	}
}

func TestShortMessagesAreRefused(t *testing.T) {
	ofLength := func(length int) message { return message{body: make([]byte, length)} }
	table := []struct {
		name  string
		least int
		read  func(length int) error
	}{
		{"head", headLength, func(length int) error { _, _, err := parse(make([]byte, length)); return err }},
		{"address", 18, func(length int) error { _, err := ofLength(length).address(); return err }},
		{"hand-over", 9, func(length int) error { _, err := ofLength(length).handOver(); return err }},
		{"milliseconds", 4, func(length int) error { _, err := ofLength(length).milliseconds(); return err }},
		{"number", 8, func(length int) error { _, err := ofLength(length).number(); return err }},
	}
	for _, test := range table {
		for length := range test.least {
			if err := test.read(length); !errors.Is(err, errShort) {
				t.Errorf("%s of %d bytes: %v", test.name, length, err)
			}
		}
		if err := test.read(test.least); err != nil {
			t.Errorf("%s of %d bytes: %v", test.name, test.least, err)
		}
	}
}

func TestAddressesOfBothFamiliesComeBackAsTheyWere(t *testing.T) {
	for _, text := range []string{"100.64.0.1:80", "0.0.0.0:0", "[fd7a:115c:a1e0::1]:65535", "[::1]:443", "[::]:0"} {
		address := netip.MustParseAddrPort(text)
		written := appendAddress(nil, address)
		if len(written) != addressLength+2 {
			t.Errorf("%s takes %d bytes", text, len(written))
		}
		if read, err := (message{body: written}).address(); err != nil || read != address {
			t.Errorf("%s became %v, %v", text, read, err)
		}
	}
	mapped := appendAddress(nil, netip.MustParseAddrPort("192.0.2.1:258"))
	if want := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1, 2, 1}; !bytes.Equal(mapped, want) {
		t.Errorf("IPv4 goes over the wire as %v", mapped)
	}
}

func TestAHandOverHasLimitsAndBytesAhead(t *testing.T) {
	body := []byte{0xe8, 3, 0, 0, 0, 0, 1, 0, 1, 'h', 'i'}
	handed, err := message{body: body}.handOver()
	if err != nil || handed.limits != (limits{time.Second, 65536 * time.Millisecond}) || !handed.reported || string(handed.ahead) != "hi" {
		t.Errorf("%+v %v", handed, err)
	}
	body[9] = 'H'
	if string(handed.ahead) != "hi" {
		t.Error("the next message overwrites the bytes ahead")
	}
	number, err := message{body: []byte{1, 0, 0, 0, 0, 0, 0, 1}}.number()
	if err != nil || number != 1<<56+1 {
		t.Errorf("%x %v", number, err)
	}
}
