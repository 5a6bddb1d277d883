//! A Kubernetes node of the test's own: a kubelet over containerd and runc.
//!
//! The kubelet is real, without an API server, with static pods. Its pods share the network of the test's namespace.

mod containerd;
mod kernel;
mod kubelet;
mod line;

pub use kubelet::Kubelet;
pub use line::Line;
