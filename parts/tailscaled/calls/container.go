// Looks names up as the container does: its hosts file, its search list, its name servers.
//
// The search list is applied here, and not by Go's resolver, which does not tell which name has answered: rules are about that
// one. Aliases are told, too.

package calls

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	resolvConf = "/etc/resolv.conf"
	etcHosts   = "/etc/hosts"
)

// lookUpFunc looks up a whole name.
type lookUpFunc func(ctx context.Context, name string) (found, error)

// searchContainer looks a name up in the hosts file, then by ask in the order of resolv.conf(5).
func searchContainer(ctx context.Context, name string, ask lookUpFunc) (found, error) {
	if answer := inHostsFile(ctx, strings.TrimSuffix(name, ".")+"."); len(answer.addresses) > 0 {
		return answer, nil
	}
	failure := errNoName
	for _, whole := range readSearchList(resolvConf).wholeNames(name) {
		answer, err := ask(ctx, whole)
		if err == nil && len(answer.addresses) > 0 {
			return answer, nil
		}
		if err != nil && !isUnknown(err) {
			failure = err
		}
	}
	return found{}, failure
}

// searchList is what resolv.conf(5) says of names that are not whole.
type searchList struct {
	domains []string
	// dots: a name with as many is tried as it is before the domains.
	dots int
}

// readSearchList reads a file as Go's resolver does.
func readSearchList(file string) searchList {
	text, _ := os.ReadFile(file)
	list := searchList{dots: 1}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(line, ";") || strings.HasPrefix(line, "#") {
			continue
		}
		switch fields[0] {
		case "domain":
			list.domains = fields[1:2]
		case "search":
			list.domains = fields[1:]
		case "options":
			for _, option := range fields[1:] {
				if dots, ok := strings.CutPrefix(option, "ndots:"); ok {
					number, _ := strconv.Atoi(dots)
					list.dots = min(max(number, 0), 15)
				}
			}
		}
	}
	if len(list.domains) == 0 {
		if host, err := os.Hostname(); err == nil {
			if _, domain, ok := strings.Cut(host, "."); ok {
				list.domains = []string{domain}
			}
		}
	}
	return list
}

// wholeNames are the names that a name stands for, in the order in which they are tried.
func (l searchList) wholeNames(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	searched := below(l.domains, name)
	if strings.Count(name, ".") >= l.dots {
		return append([]string{name + "."}, searched...)
	}
	return append(searched, name+".")
}

// hostsFile is Go's resolver with no name server: it knows what the hosts file says, where nsswitch.conf has it.
var hostsFile = net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("the hosts file alone is asked")
}}

// inHostsFile looks a whole name up in the hosts file. Its aliases are the other names of the same lines.
func inHostsFile(ctx context.Context, name string) found {
	// Go finds a single label there only without the dot at its end.
	addresses, err := hostsFile.LookupNetIP(ctx, "ip", strings.TrimSuffix(name, "."))
	if err != nil {
		return found{}
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	text, _ := os.ReadFile(etcHosts)
	return found{names: append([]string{name}, aliasesIn(string(text), name)...), addresses: addresses}
}

// aliasesIn are all names of those lines of a hosts file that have the whole name.
func aliasesIn(hosts, name string) []string {
	var aliases []string
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		isName := func(field string) bool { return strings.EqualFold(strings.TrimSuffix(field, ".")+".", name) }
		if len(fields) > 1 && slices.ContainsFunc(fields[1:], isName) {
			aliases = append(aliases, fields[1:]...)
		}
	}
	return aliases
}

// askContainer asks the container's name servers for a whole name.
func askContainer(ctx context.Context, name string) (found, error) {
	if answer := inHostsFile(ctx, name); len(answer.addresses) > 0 {
		return answer, nil
	}
	var heard overheard
	resolver := net.Resolver{PreferGo: true, Dial: heard.dial}
	addresses, err := resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return found{}, err
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	return found{names: append([]string{name}, heard.names()...), addresses: addresses}, nil
}

// distinct are the names without dots at their ends, each once, in their order.
func distinct(names []string) []string {
	var kept []string
	for _, name := range names {
		if name = strings.ToLower(strings.TrimSuffix(name, ".")); !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}
