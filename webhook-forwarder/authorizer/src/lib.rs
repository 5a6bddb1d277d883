//! Admits callers of API Gateway by their source address.
//!
//! [`cidr`] is the list of the setting, [`question`] what API Gateway asks, and [`log`] where everything is written.
//! Whatever is wrong or missing denies.

pub mod cidr;
pub mod log;
pub mod question;

pub use cidr::{Allowed, Fault};
pub use question::{Answer, Question, verdict};
