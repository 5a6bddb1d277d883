// Reads the answers of name servers: addresses, and the names that lead to them.

package calls

import (
	"errors"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// addressesIn reads the addresses of an answer. A name that is not there is errNoName.
func addressesIn(message []byte) ([]netip.Addr, error) {
	var parser dnsmessage.Parser
	head, err := parser.Start(message)
	if err != nil {
		return nil, err
	}
	if head.RCode == dnsmessage.RCodeNameError {
		return nil, errNoName
	}
	if head.RCode != dnsmessage.RCodeSuccess {
		return nil, errors.New("the name server answered " + head.RCode.String())
	}
	if err := parser.SkipAllQuestions(); err != nil {
		return nil, err
	}
	records, err := parser.AllAnswers()
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, record := range records {
		switch body := record.Body.(type) {
		case *dnsmessage.AResource:
			found = append(found, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			found = append(found, netip.AddrFrom16(body.AAAA).Unmap())
		}
	}
	return found, nil
}

// namesIn reads every name of an answer's records: those that have the addresses, and the aliases on the way to them. What
// comes after a record that is broken is not read by Go's resolver either.
func namesIn(message []byte) []string {
	var parser dnsmessage.Parser
	if _, err := parser.Start(message); err != nil || parser.SkipAllQuestions() != nil {
		return nil
	}
	var names []string
	for {
		head, err := parser.AnswerHeader()
		if err != nil {
			return names
		}
		names = append(names, head.Name.String())
		if head.Type == dnsmessage.TypeCNAME {
			alias, err := parser.CNAMEResource()
			if err != nil {
				return names
			}
			names = append(names, alias.CNAME.String())
			continue
		}
		if parser.SkipAnswer() != nil {
			return names
		}
	}
}
