// Package main of tailscaled gets this file beside its own (see parts.mk).
//
// The import makes the calls register themselves.
package main

import _ "tetherd.invalid/parts/tailscaled/calls"
