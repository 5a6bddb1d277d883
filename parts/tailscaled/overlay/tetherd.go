// Package main of tailscaled gets this file beside its own (see parts.mk).
//
// The import makes the calls register themselves. Go initialises the files of a package in the order of their names, so that
// tailscaled's netstack.go has set its hook before.
package main

import (
	"tailscale.com/feature"
	"tetherd.invalid/parts/tailscaled/calls"
)

func init() {
	create := hookNewNetstack.Get()
	hookNewNetstack = feature.Hook[calls.NewNetstack]{}
	hookNewNetstack.Set(calls.GuardPeers(create))
}
