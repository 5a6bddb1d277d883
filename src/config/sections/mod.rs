//! Groups of settings: joining, the node, its listeners, what it serves.

pub(crate) mod auth;
pub(crate) mod dns;
pub(crate) mod in_the_clear;
pub(crate) mod listeners;
pub(crate) mod node;
pub(crate) mod serve;
pub(crate) mod serve_forms;
pub(crate) mod serve_services;
pub(crate) mod supervisor;
pub(crate) mod users;
