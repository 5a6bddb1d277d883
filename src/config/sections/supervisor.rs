//! Settings of the supervisor of several tailnets, and the health ports of all.

use std::net::SocketAddr;

use crate::config::reader::Reader;
use crate::config::types::enums::{LogFormat, LogLevel};

/// Settings of the process that keeps the daemons of several tailnets.
#[derive(Clone, Debug)]
pub struct SupervisorSettings {
    pub health_listen: Vec<SocketAddr>,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
}

impl Reader {
    /// Reads the settings of the process that keeps several daemons.
    pub fn supervisor(&mut self) -> SupervisorSettings {
        SupervisorSettings {
            health_listen: self.filled_list("health_listen"),
            log_level: self.value("log_level").unwrap_or(LogLevel::Info),
            log_format: self.value("log_format").unwrap_or(LogFormat::Text),
        }
    }

    /// Reads where the daemon's own health port listens. A supervised daemon has none unless its table names one.
    pub fn health_listen(&mut self) -> Vec<SocketAddr> {
        let is_given = self.has_value("health_listen");
        if is_given { self.filled_list("health_listen") } else { self.list("health_listen") }
    }
}
