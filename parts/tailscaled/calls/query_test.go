package calls

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"tailscale.com/util/dnsname"
)

// zone is what name servers know: addresses by whole names. One without addresses knows the name, and no address of it.
type zone map[string][]string

// message answers as a name server does that knows the zone.
func (z zone) message(t *testing.T, name string, kind dnsmessage.Type) []byte {
	known, ok := z[name]
	built := dnsmessage.Message{Header: dnsmessage.Header{Response: true}}
	asked := dnsmessage.MustNewName(name)
	built.Questions = []dnsmessage.Question{{Name: asked, Type: kind, Class: dnsmessage.ClassINET}}
	if !ok {
		built.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range known {
		address := netip.MustParseAddr(text)
		var body dnsmessage.ResourceBody = &dnsmessage.AAAAResource{AAAA: address.As16()}
		if address.Is4() {
			body = &dnsmessage.AResource{A: address.As4()}
		}
		if kind != dnsmessage.TypeMX && address.Is4() == (kind == dnsmessage.TypeA) {
			head := dnsmessage.ResourceHeader{Name: asked, Class: dnsmessage.ClassINET, TTL: 60}
			built.Answers = append(built.Answers, dnsmessage.Resource{Header: head, Body: body})
		}
	}
	return must[[]byte](t)(built.Pack())
}

// serverFault is a message with the code SERVFAIL.
func serverFault(t *testing.T) []byte {
	built := dnsmessage.Message{Header: dnsmessage.Header{Response: true, RCode: dnsmessage.RCodeServerFailure}}
	return must[[]byte](t)(built.Pack())
}

// querierOf answers for the tailnet tail.example with the private zone corp.example, and by an exit node for exit.example.
func querierOf(t *testing.T) querier {
	known := zone{
		"web.tail.example.":    {"100.64.0.7", "fd7a::7"},
		"db.corp.example.":     {"10.0.0.1"},
		"www.db.corp.example.": {"10.0.0.2"},
		"empty.tail.example.":  nil,
		"empty.corp.example.":  {"10.0.0.3"},
		"text.corp.example.":   nil,
		"first.example.":       {"192.0.2.1"},
	}
	return querier{
		ask: func(name string, kind dnsmessage.Type) ([]byte, bool, error) {
			switch name {
			case "silent.corp.example.":
				return nil, false, errors.New("context deadline exceeded")
			case "faulty.corp.example.", "faulty.exit.example.":
				return serverFault(t), true, nil
			case "none.exit.example.":
				return serverFault(t), false, nil
			}
			return known.message(t, name, kind), true, nil
		},
		serverFor: func(name dnsname.FQDN) server {
			for suffix, by := range map[dnsname.FQDN]server{
				"tail.example.": tailnetOnly, "corp.example.": tailnetOnly, "exit.example.": byExitNode,
				"first.example.": tailnetFirst, "neighbour.example.": tailnetFirst,
			} {
				if suffix.Contains(name) {
					return by
				}
			}
			return container
		},
		candidates: func(name string) []string { return candidates(tailnetMap(), true, name) },
	}
}

func TestQuestionsAreAnsweredAsNamesAreResolved(t *testing.T) {
	const a, aaaa, mx = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeMX
	others := "of others"
	fault := "fault"
	for _, test := range []struct {
		name    string
		kind    dnsmessage.Type
		unknown bool
		want    string
	}{
		{"web.tail.example", a, false, "100.64.0.7"},
		{"web.tail.example", aaaa, false, "fd7a::7"},
		{"web.tail.example", mx, false, "no record"},
		{"web", a, false, "web -> web.tail.example 100.64.0.7"},
		{"Web", a, false, "Web -> web.tail.example 100.64.0.7"},
		{"web", mx, false, others},
		{"db", a, false, "db -> db.corp.example 10.0.0.1"},
		{"db", aaaa, false, "db -> db.corp.example no record"},
		{"empty", a, false, "empty -> empty.corp.example 10.0.0.3"},
		{"db.corp.example", aaaa, false, "no record"},
		{"www.db", a, false, others},
		{"www.db", a, true, "www.db -> www.db.corp.example 10.0.0.2"},
		{"nosuch.tail.example", a, false, "NXDOMAIN"},
		{"nosuch.corp.example", mx, false, "NXDOMAIN"},
		{"text.corp.example", mx, false, "no record"},
		{"nosuch", a, false, others},
		{"nosuch", a, true, others},
		{"example.org", a, false, others},
		{"example.org", a, true, others},
		{"silent.corp.example", a, false, fault},
		{"faulty.corp.example", mx, false, fault},
		{"first.example", a, false, "192.0.2.1"},
		{"first.example", aaaa, false, "no record"},
		{"neighbour.example", a, false, others},
		{"none.exit.example", a, false, others},
		{"faulty.exit.example", a, false, fault},
		{"nosuch.exit.example", a, false, "NXDOMAIN"},
	} {
		message, err := querierOf(t).answer(query{test.name, test.kind, test.unknown})
		found := fault
		if errors.Is(err, errOthersAnswer) {
			found = others
		} else if err == nil {
			found = inShort(t, test.name, message)
		}
		if found != test.want {
			t.Errorf("%s %v (unknown to others: %v): %s, not %s", test.name, test.kind, test.unknown, found, test.want)
		}
	}
}

// inShort is an answer in short: the alias if there is one, and the first address.
func inShort(t *testing.T, name string, message []byte) string {
	var answer dnsmessage.Message
	if err := answer.Unpack(message); err != nil {
		t.Fatal(err)
	}
	if found := answer.Questions[0].Name.String(); found != name+"." {
		return "another question: " + found
	}
	if answer.RCode == dnsmessage.RCodeNameError {
		return "NXDOMAIN"
	}
	text, alias := "no record", ""
	for _, record := range answer.Answers {
		switch body := record.Body.(type) {
		case *dnsmessage.CNAMEResource:
			alias = name + " -> " + body.CNAME.String()
			alias = alias[:len(alias)-1] + " "
		case *dnsmessage.AResource:
			text = netip.AddrFrom4(body.A).String()
		case *dnsmessage.AAAAResource:
			text = netip.AddrFrom16(body.AAAA).String()
		}
	}
	return alias + text
}

func TestNamesOfReverseZonesAreRead(t *testing.T) {
	v6 := "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa."
	table := map[string]string{
		"7.0.64.100.in-addr.arpa.": "100.64.0.7", "7.0.64.100.IN-ADDR.arpa": "100.64.0.7", v6: "fd7a:115c:a1e0::7",
		"0.64.100.in-addr.arpa.": "", "x.0.64.100.in-addr.arpa.": "", "in-addr.arpa.": "", "ip6.arpa.": "", v6[2:]: "",
		"web.tail.example.": "", "300.0.64.100.in-addr.arpa.": "", "": "",
	}
	for name, want := range table {
		address, ok := reversed(name)
		if ok != (want != "") || (ok && address.String() != want) {
			t.Errorf("%s: %v %v", name, address, ok)
		}
	}
}

func TestAQuestionIsReadFromItsMessage(t *testing.T) {
	read, err := message{1, []byte("\x01\x1c\x00web.tail.example")}.query()
	if want := (query{"web.tail.example", dnsmessage.TypeAAAA, true}); err != nil || read != want {
		t.Errorf("%v %v", read, err)
	}
	for length := range 3 {
		if _, err := (message{1, make([]byte, length)}).query(); !errors.Is(err, errShort) {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
	if names := backwards([]string{"a", "b"}); !slices.Equal(names, []string{"b", "a"}) {
		t.Errorf("%v", names)
	}
}
