//! Tests of pods on a real kubelet with containerd and runc, without a cluster.
//!
//! The container image, tailscaled and headscale are real. Each test has a network namespace of its own; the kubelets
//! run one after the other, since they share the machine's kernel.

mod crash;
mod failures;
mod manifest;
mod scene;
mod start;
mod stop;
