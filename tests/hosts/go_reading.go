// Reads hosts as tailscaled does: as the value of a header, joined with a port, split again, and looked up as an address or
// a name. One line in, a JSON string; one line out, the host that would be dialled, or nothing where Go refuses it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(out, dialled(text))
	}
}

// dialled is what LocalAPI's dial does with its header (serveDial in ipn/localapi, UserDialPlan in net/tsdial).
func dialled(text string) string {
	request := "POST /localapi/v0/dial HTTP/1.1\r\nHost: local\r\nDial-Host: " + text + "\r\nContent-Length: 0\r\n\r\n"
	read, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
	if err != nil {
		return ""
	}
	host, _, err := net.SplitHostPort(net.JoinHostPort(read.Header.Get("Dial-Host"), "80"))
	if err != nil {
		return ""
	}
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().String()
	}
	// MagicDNS compares without case and without the dot at the end (canonMapKey in net/tsdial).
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
