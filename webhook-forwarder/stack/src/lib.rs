//! The stack as its tests see it: an expanded template and its policies.
//!
//! [`template`] is what AWS SAM's transform makes of `template.yaml`, with its functions resolved for some parameters,
//! and [`policy`] says who may do what by the policies in it.

pub mod policy;
pub mod template;
