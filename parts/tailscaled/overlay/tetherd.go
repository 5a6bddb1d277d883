// Package main of tailscaled gets this file beside its own (see parts.mk): the calls register themselves.
package main

import _ "tetherd.invalid/parts/tailscaled/calls"
