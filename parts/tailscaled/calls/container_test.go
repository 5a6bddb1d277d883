package calls

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestNamesAreTriedInTheOrderOfTheSearchList(t *testing.T) {
	table := []struct{ resolv, name, want string }{
		{"search a.test b.test.", "db", "db.a.test. db.b.test. db."},
		{"search a.test b.test.", "db.", "db."},
		{"search a.test", "www.db", "www.db. www.db.a.test."},
		{"search a.test\noptions rotate ndots:2", "www.db", "www.db.a.test. www.db."},
		{"domain a.test\n#search b.test\n;search c.test", "db", "db.a.test. db."},
		{"search a.test\ndomain b.test", "db", "db.b.test. db."},
		{"search\ta.test  \noptions ndots:99", "db", "db.a.test. db."},
		{"search .", "db", "db."},
	}
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for _, test := range table {
		if err := os.WriteFile(file, []byte(test.resolv), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := strings.Join(readSearchList(file).wholeNames(test.name), " "); found != test.want {
			t.Errorf("%q %s: %s", test.resolv, test.name, found)
		}
	}
}

func TestAliasesAreTheNamesOfALineOfTheHostsFile(t *testing.T) {
	hosts := "10.0.0.1 Vault.corp.test. vaulthost # other\n10.0.0.2 lone\n#10.0.0.3 gone\n::1 vaulthost six"
	for name, want := range map[string]string{
		"vaulthost.": "Vault.corp.test. vaulthost vaulthost six", "vault.corp.test.": "Vault.corp.test. vaulthost",
		"lone.": "lone", "other.": "", "gone.": "", "10.0.0.1.": "",
	} {
		if found := strings.Join(aliasesIn(hosts, name), " "); found != want {
			t.Errorf("%s: %s", name, found)
		}
	}
}

func TestAllNamesOfAnAnswerAreRead(t *testing.T) {
	alias := &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("Other.tail.example.")}
	further := &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("third.tail.example.")}
	message := answerWith(t, dnsmessage.RCodeSuccess, alias, further, &dnsmessage.AResource{})
	found := distinct(append([]string{"DB.tail.example."}, namesIn(message)...))
	if want := []string{"db.tail.example", "other.tail.example", "third.tail.example"}; !slices.Equal(found, want) {
		t.Errorf("%v", found)
	}
	for length := range message {
		namesIn(message[:length])
	}
}

func TestWhatIsToldOfANameFitsAMessage(t *testing.T) {
	long := strings.Repeat("a.", 125)
	for count, fits := range map[int]bool{1: true, 14: true, 16: false} {
		var names []string
		for i := range count {
			names = append(names, long+string(rune('a'+i)))
		}
		told, err := appendFound(nil, found{names: names}, make([]place, mostAddresses))
		if (err == nil) != fits || len(told) > 4<<10-headLength {
			t.Errorf("%d names: %d bytes, %v", count, len(told), err)
		}
	}
}
