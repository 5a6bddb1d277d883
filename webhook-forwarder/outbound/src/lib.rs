//! The clients that the webhook functions share: HTTPS, AWS and its secrets.
//!
//! They are for what the functions reach beside the tailnet: [`https`] by rustls with ring and the system's CA
//! certificates, [`aws`] by the SDK with the function's own role, and a text of [`secrets`] Manager. [`log`] is where
//! they write, [`environment`] where their settings come from, [`url`] where credentials may go, [`message`] what of
//! others' words is written.
//! Everything is made when it is first needed: a cold start waits for none of it.

pub mod aws;
pub mod environment;
pub mod https;
pub mod log;
pub mod message;
pub mod secrets;
pub mod url;
