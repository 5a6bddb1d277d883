package calls

import "testing"

func TestTheLastDeviceOfACommandLineCounts(t *testing.T) {
	for _, c := range []struct {
		arguments []string
		userspace bool
	}{
		{[]string{"tailscaled"}, false},
		{[]string{"tailscaled", "--tun=userspace-networking"}, true},
		{[]string{"tailscaled", "-tun=userspace-networking", "--port=1"}, true},
		{[]string{"tailscaled", "--tun=userspace-networking", "--tun=tailscale0"}, false},
		{[]string{"tailscaled", "--tun", "userspace-networking"}, true},
		{[]string{"tailscaled", "--tun"}, false},
		{[]string{"tailscaled", "--socks5-server=--tun"}, false},
	} {
		if got := isUserspace(c.arguments); got != c.userspace {
			t.Errorf("%v: %v", c.arguments, got)
		}
	}
}

func TestNothingListensOnAllAddresses(t *testing.T) {
	for address, refused := range map[string]bool{
		"0.0.0.0:1": true, "[::]:1": true, ":1": true, "100.64.0.1:1": false, "127.0.0.1:0": false,
	} {
		if err := refuseWildcard("tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
}
