//! Checks of the listeners: addresses, and the clients' user and password.
//!
//! No address twice, none that others can reach without a password, and a user and password that every protocol can
//! carry.

use std::path::PathBuf;

use crate::config::reader::Reader;
use crate::config::settings::{Credentials, Settings};
use crate::config::tailscale::daemon_args::{DaemonArgs, SettingFlag};
use crate::config::types::Words;
use crate::config::types::address::Listen;
use crate::net::server_tls::{TlsFiles, TlsFilesError};
use crate::secret::SecretSource;

/// Longest user, and longest password, in bytes (RFC 1929, section 2).
pub const LONGEST_CREDENTIAL: usize = 255;

impl Reader {
    /// Reads the clients' user and password, which are given both or not at all.
    pub fn credentials(&mut self) -> Option<Credentials> {
        let user = self.value::<String>("socks_user");
        let password = self.secret("socks_password");
        match (user, password) {
            (Some(user), Some(source)) => self.whole_credentials(user, &source),
            (None, None) => None,
            (Some(_), None) => self.refuse_credentials("socks_user", "needs socks_password beside it"),
            (None, Some(_)) => self.refuse_credentials("socks_password", "needs socks_user beside it"),
        }
    }

    fn whole_credentials(&mut self, user: String, password: &SecretSource) -> Option<Credentials> {
        let password = password.read().ok()?;
        if user.contains(':') {
            // RFC 7617, section 2.
            return self.refuse_credentials("socks_user", "has a colon, which HTTP's Basic cannot carry in a user");
        }
        for (key, length) in [("socks_user", user.len()), ("socks_password", password.expose().len())] {
            if length > LONGEST_CREDENTIAL {
                return self.refuse_credentials(key, "is longer than the 255 bytes that SOCKS5 can carry");
            }
        }
        Some(Credentials { user, password })
    }

    /// Reads more arguments for tailscaled. Notes a fault for each flag that has a setting, which knows password, rules and the lock
    /// of the state, and for each that would end tailscaled.
    pub fn tailscaled_args(&mut self) -> Words {
        const KEY: &str = "tailscaled_args";
        let words = self.value(KEY).unwrap_or(Words(Vec::new()));
        let mut read = DaemonArgs::read(words.0.iter().map(String::as_str));
        for SettingFlag { name, key, .. } in read.settings {
            self.fault_at(KEY, format!("has --{name}, which has a setting here: use {key}"));
        }
        for fault in read.faults {
            self.fault_at(KEY, fault);
        }
        for name in read.unknown {
            self.warn_at(KEY, format!("has --{name}, which tailscaled 1.102 does not know"));
        }
        if read.forgets {
            read.kept.push("--state=mem:".to_owned());
        }
        Words(read.kept)
    }

    fn refuse_credentials(&mut self, key: &'static str, problem: &str) -> Option<Credentials> {
        self.fault_at(key, problem);
        None
    }

    /// Reads the files of the listeners' TLS, and notes a fault where they cannot be served with.
    pub fn tls_files(&mut self) -> Option<TlsFiles> {
        let (certificate, key) = (self.value("socks_tls_cert"), self.value("socks_tls_key"));
        let client_ca: Option<PathBuf> = self.value("socks_client_ca");
        let (name, other) = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let files = TlsFiles { certificate, key, client_ca };
                return match files.load() {
                    Ok(_) => Some(files),
                    Err(error) => {
                        self.fault_at(setting_of(&error), format!("cannot be used: {error}"));
                        None
                    }
                };
            }
            (Some(_), None) => ("socks_tls_cert", "socks_tls_key"),
            (None, Some(_)) => ("socks_tls_key", "socks_tls_cert"),
            (None, None) if client_ca.is_some() => ("socks_client_ca", "socks_tls_cert and socks_tls_key"),
            (None, None) => return None,
        };
        self.fault_at(name, format!("needs {other} beside it"));
        None
    }

    /// Notes a fault for each listener that others can reach without a password, unless `allow_open_proxy` is set.
    pub fn no_open_proxy(&mut self, settings: &Settings) {
        if self.value("allow_open_proxy").unwrap_or(false) {
            return;
        }
        let open = settings.socks_listen.iter().find(|listen| !settings.is_private(listen));
        let asks_for_certificates = settings.socks_tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if let Some(listen) = open.filter(|_| !settings.asks_for_password() && !asks_for_certificates) {
            let fix = "set socks_user and socks_password, or users, ask for certificates by socks_client_ca, listen on 127.0.0.1";
            self.open("socks_listen", listen, fix);
        }
        // Programs that know no proxy know no password for one either.
        if let Some(forward) = settings.forwards.iter().find(|forward| !settings.is_private(&forward.listen)) {
            self.open("forwards", &forward.listen, "listen on 127.0.0.1");
        }
        let dns = settings.dns.listen.iter().copied().map(Listen::Tcp);
        if let Some(listen) = dns.into_iter().find(|listen| !listen.is_private()) {
            self.open("dns_listen", &listen, "listen on 127.0.0.1");
        }
    }

    fn open(&mut self, key: &'static str, listen: &Listen, fix: &str) {
        let by_balancer = if listen.is_private() { " by way of a balancer (proxy_protocol)" } else { "" };
        let problem = format!(
            "{listen} can be reached by others{by_balancer}, who could use the tailnet: {fix}, or set allow_open_proxy = true"
        );
        self.fault_at(key, problem);
    }

    /// Notes a fault for each address that two listeners have. The system would say so, too, but only of the second
    /// listener, and not of which setting.
    pub fn no_address_twice(&mut self, settings: &Settings) {
        let health: Vec<Listen> = settings.health_listen.iter().copied().map(Listen::Tcp).collect();
        let health = health.iter().map(|listen| ("health_listen", listen));
        let proxies = settings.socks_listen.iter().map(|listen| ("socks_listen", listen));
        let forwards = settings.forwards.iter().map(|forward| ("forwards", &forward.listen));
        let both = settings.dns.listen.iter().flat_map(|address| [Listen::Tcp(*address), Listen::Udp(*address)]);
        let dns: Vec<Listen> = both.collect();
        let dns = dns.iter().map(|listen| ("dns_listen", listen));
        let mut taken: Vec<(&str, &Listen)> = Vec::new();
        for (key, listen) in health.chain(proxies).chain(forwards).chain(dns) {
            let any_port = listen.port() == Some(0);
            if let Some((first, _)) = taken.iter().find(|(_, other)| *other == listen && !any_port) {
                let problem = format!("listens on {listen}, and so does {first}: give each an address of its own");
                self.fault_at(key, problem);
            }
            taken.push((key, listen));
        }
    }
}

impl Reader {
    /// Notes a fault for each address of `proxy_protocol` that is none of a listener.
    pub fn balancers_before_listeners(&mut self, settings: &Settings) {
        let is_open = |listen: &&Listen| {
            settings.socks_listen.contains(listen) || settings.forwards.iter().any(|forward| forward.listen == **listen)
        };
        for listen in settings.proxy_protocol.iter().filter(|listen| !is_open(listen)) {
            let problem = format!(
                "names {listen}, where nothing listens: name an address of socks_listen as it stands there, or what stands before \
                 the = in forwards"
            );
            self.fault_at("proxy_protocol", problem);
        }
    }
}

/// Returns the setting that `error` is about.
fn setting_of(error: &TlsFilesError) -> &'static str {
    match error {
        TlsFilesError::Key { .. } => "socks_tls_key",
        TlsFilesError::ClientCa { .. } | TlsFilesError::ClientCaFile(_) => "socks_client_ca",
        TlsFilesError::Certificate(_) | TlsFilesError::Pair { .. } | TlsFilesError::Other(_) => "socks_tls_cert",
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::environment::environment;

    #[test]
    fn arguments_of_tailscaled_open_nothing_that_has_a_setting() {
        let read = |name: &str, arguments: &str| load(&environment(&[(name, arguments)]), None, &vec![]).settings;
        let own = "TETHERD_TAILSCALED_ARGS";
        for (arguments, problem) in [
            ("--socks5-server=:1080", "use socks_listen"),
            ("-socks5-server :1080", "use socks_listen"),
            ("--verbose=1 --outbound-http-proxy-listen=localhost:1", "use socks_listen"),
            ("--socket=/shared/t.sock", "use tailscaled_socket"),
            ("--statedir /state", "use state_dir"),
            ("--state=/state/tailscaled.state", "use state_dir"),
            ("--state=/state/other", "use state_dir"),
            ("--state=arn:aws:ssm:x", "use state_dir"),
            ("--tun=tailscale0", "kernel mode"),
            ("--port=99999", "no port"),
            ("socket", "belongs to no flag"),
            ("--config=/t.json", "--config"),
            ("--cleanup", "ends tailscaled"),
        ] {
            let text = read(own, arguments).expect_err(arguments).to_string();
            assert!(
                text.contains("tailscaled_args (from TETHERD_TAILSCALED_ARGS)") && text.contains(problem),
                "{text}"
            );
        }
        for arguments in
            ["--verbose=2", "--port=41641", "--state=mem:", "--debug=127.0.0.1:1", "", "--encrypt-state=true"]
        {
            assert_eq!(read(own, arguments).expect(arguments).tailscaled_args.0.join(" "), arguments);
        }
        for arguments in ["--tun=userspace-networking", "--port=0", "--no-logs-no-support"] {
            assert_eq!(read(own, arguments).expect(arguments).tailscaled_args.0, Vec::<String>::new(), "{arguments}");
        }
    }
}
