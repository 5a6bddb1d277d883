//go:build tools

// Package tailscaled pins what is built here, so that `go mod vendor` brings it.
package tailscaled

import (
	_ "tailscale.com/cmd/featuretags"
	_ "tailscale.com/cmd/tailscaled"
)
