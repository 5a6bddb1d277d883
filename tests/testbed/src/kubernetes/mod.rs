//! A node of Kubernetes of the test's own: a real kubelet without an API server, with static pods, over containerd and runc.
//! Its pods share the network of the test's namespace.

mod containerd;
mod kernel;
mod kubelet;
mod line;

pub use kubelet::Kubelet;
pub use line::Line;
