//! Where auth keys come from: one file for each kind of source.

pub(crate) mod aws_config;
pub(crate) mod headscale;
pub(crate) mod oauth;
pub(crate) mod platform_token;
pub(crate) mod secrets_manager;
