package calls

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"tailscale.com/tailcfg"
	"tailscale.com/types/netmap"
)

// tailnetMap is the map of a node whose tailnet has a domain of its own, a search domain and a record.
func tailnetMap() *netmap.NetworkMap {
	self := &tailcfg.Node{Name: "me.tail.example."}
	return &netmap.NetworkMap{SelfNode: self.View(), DNS: tailcfg.DNSConfig{
		Domains:      []string{"tail.example", "corp.example."},
		ExtraRecords: []tailcfg.DNSRecord{{Name: "Extra.example", Value: "100.64.0.9"}},
	}}
}

func TestCandidatesAreInTheOrderOfASearchList(t *testing.T) {
	table := []struct {
		name    string
		accepts bool
		want    string
	}{
		{"db", true, "db.tail.example. db.tail.example. db.corp.example. db"},
		{"db", false, "db.tail.example. db"},
		{"db.", true, "db."},
		{"www.db", true, "www.db www.db.tail.example. www.db.corp.example."},
		{"www.db", false, "www.db"},
		{"www.db.", true, "www.db."},
	}
	for _, test := range table {
		if found := strings.Join(candidates(tailnetMap(), test.accepts, test.name), " "); found != test.want {
			t.Errorf("%s (accepts %v): %s", test.name, test.accepts, found)
		}
	}
	if found := candidates(nil, true, "db"); !slices.Equal(found, []string{"db"}) {
		t.Errorf("without a map: %v", found)
	}
}

func TestNamesOfTheTailnetAreItsOwn(t *testing.T) {
	for name, want := range map[string]bool{
		"db.tail.example": true, "DB.Tail.Example.": true, "tail.example": true, "extra.example": true,
		"nottail.example": false, "tail.example.com": false, "www.extra.example": false, "localhost": false,
	} {
		whole, err := wholeName(name)
		if err != nil || isOwn(tailnetMap(), whole) != want {
			t.Errorf("%s: not %v (%v)", name, want, err)
		}
	}
}

// answerWith builds an answer: a question, and the records of a chain of names.
func answerWith(t *testing.T, code dnsmessage.RCode, bodies ...dnsmessage.ResourceBody) []byte {
	t.Helper()
	name := dnsmessage.MustNewName("db.tail.example.")
	question := dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	built := dnsmessage.Message{Header: dnsmessage.Header{Response: true, RCode: code}, Questions: []dnsmessage.Question{question}}
	for _, body := range bodies {
		head := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}
		built.Answers = append(built.Answers, dnsmessage.Resource{Header: head, Body: body})
		if alias, ok := body.(*dnsmessage.CNAMEResource); ok {
			name = alias.CNAME
		}
	}
	return must[[]byte](t)(built.Pack())
}

func TestAddressesAreReadFromAnswers(t *testing.T) {
	alias := &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("other.tail.example.")}
	further := &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("third.tail.example.")}
	v4 := &dnsmessage.AResource{A: [4]byte{100, 64, 0, 7}}
	v6 := &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("fd7a:115c:a1e0::7").As16()}
	text := &dnsmessage.TXTResource{TXT: []string{"no address"}}
	table := []struct {
		name   string
		bodies []dnsmessage.ResourceBody
		want   []string
	}{
		{"one address", []dnsmessage.ResourceBody{v4}, []string{"100.64.0.7"}},
		{"both families", []dnsmessage.ResourceBody{v4, v6}, []string{"100.64.0.7", "fd7a:115c:a1e0::7"}},
		{"a chain of aliases", []dnsmessage.ResourceBody{alias, further, v4}, []string{"100.64.0.7"}},
		{"an alias of nothing", []dnsmessage.ResourceBody{alias}, nil},
		{"another record", []dnsmessage.ResourceBody{text}, nil},
		{"no record", nil, nil},
	}
	for _, test := range table {
		found, err := addressesIn(answerWith(t, dnsmessage.RCodeSuccess, test.bodies...))
		var texts []string
		for _, address := range found {
			texts = append(texts, address.String())
		}
		if err != nil || !slices.Equal(texts, test.want) {
			t.Errorf("%s: %v, %v", test.name, texts, err)
		}
	}
}

func TestFailuresOfNameServersAreTold(t *testing.T) {
	if _, err := addressesIn(answerWith(t, dnsmessage.RCodeNameError)); !errors.Is(err, errNoName) || !isUnknown(err) {
		t.Errorf("NXDOMAIN: %v", err)
	}
	_, err := addressesIn(answerWith(t, dnsmessage.RCodeServerFailure))
	if err == nil || isUnknown(err) || !strings.Contains(err.Error(), "ServerFailure") {
		t.Errorf("SERVFAIL: %v", err)
	}
	whole := answerWith(t, dnsmessage.RCodeSuccess, &dnsmessage.AResource{})
	for length := range whole {
		if found, err := addressesIn(whole[:length]); err == nil {
			t.Errorf("cut at %d bytes: %v", length, found)
		}
	}
}
