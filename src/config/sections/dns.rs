//! Settings of the DNS server.
//!
//! Where it listens, and whom it asks for names that are not the tailnet's.

use std::net::{IpAddr, SocketAddr};

use crate::config::reader::Reader;
use crate::config::types::Value;

/// A name server: an address, with port 53 unless it says another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer(pub SocketAddr);

impl Value for NameServer {
    const EXPECTED: &'static str = "the address of a name server, such as 10.0.0.2, 10.0.0.2:5353 or [fd00::53]:53";

    fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let address = match bare.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, 53),
            // An empty host stands for every address, which is none to ask.
            Err(_) => SocketAddr::parse(text)?,
        };
        (!address.ip().is_unspecified() && address.port() != 0).then_some(Self(address))
    }
}

/// The settings of the DNS server.
#[derive(Clone, Debug, Default)]
pub struct DnsSettings {
    /// Where it listens, over UDP and TCP alike; without an address there is none.
    pub listen: Vec<SocketAddr>,
    /// Name servers for names that are not the tailnet's; where there are none, those of resolv.conf(5) count.
    pub upstream: Vec<SocketAddr>,
}

impl Reader {
    /// Reads the settings of the DNS server.
    pub fn dns(&mut self) -> DnsSettings {
        let upstream: Vec<NameServer> = self.list("dns_upstream");
        let dns = DnsSettings {
            listen: self.list("dns_listen"),
            upstream: upstream.into_iter().map(|server| server.0).collect(),
        };
        if dns.listen.is_empty() && !dns.upstream.is_empty() {
            self.fault_at("dns_upstream", "needs dns_listen beside it: nobody else asks these name servers");
        }
        if let Some(own) = dns.upstream.iter().find(|server| dns.listen.contains(server)) {
            self.fault_at(
                "dns_upstream",
                format!("names {own}, where dns_listen itself answers: name other name servers"),
            );
        }
        dns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::environment::environment;

    #[test]
    fn name_servers_have_port_53_unless_they_say_another() {
        for (text, server) in [
            ("10.0.0.2", Some("10.0.0.2:53")),
            ("10.0.0.2:5353", Some("10.0.0.2:5353")),
            ("fd00::53", Some("[fd00::53]:53")),
            ("[fd00::53]", Some("[fd00::53]:53")),
            ("[fd00::53]:54", Some("[fd00::53]:54")),
            ("localhost:54", Some("127.0.0.1:54")),
            ("0.0.0.0", None),
            (":53", None),
            ("10.0.0.2:0", None),
            ("10.0.0.2:053", None),
            ("dns.example", None),
            ("", None),
        ] {
            assert_eq!(NameServer::parse(text).map(|server| server.0.to_string()).as_deref(), server, "{text}");
        }
    }

    #[test]
    fn a_dns_server_that_others_reach_is_refused_and_so_is_one_that_asks_itself() {
        let read = |pairs: &[(&str, &str)]| {
            let loaded = load(&environment(pairs), None, &vec![]).settings;
            loaded.map(|settings| settings.dns).map_err(|faults| faults.to_string())
        };
        let off = read(&[]).expect("valid");
        assert!(off.listen.is_empty() && off.upstream.is_empty());
        let on = read(&[("TETHERD_DNS_LISTEN", "127.0.0.1:53,[::1]:53"), ("TETHERD_DNS_UPSTREAM", "10.0.0.2")]);
        assert_eq!(on.map(|dns| (dns.listen.len(), dns.upstream.len())), Ok((2, 1)));
        let (listen, open) = (("TETHERD_DNS_LISTEN", "0.0.0.0:53"), ("TETHERD_ALLOW_OPEN_PROXY", "true"));
        assert!(read(&[listen, open]).is_ok());
        for (pairs, problem) in [
            (&[listen][..], "dns_listen (from TETHERD_DNS_LISTEN) 0.0.0.0:53 can be reached by others"),
            (&[("TETHERD_DNS_UPSTREAM", "10.0.0.2")], "needs dns_listen beside it"),
            (&[("TETHERD_DNS_LISTEN", "127.0.0.1:53"), ("TETHERD_DNS_UPSTREAM", "127.0.0.1")], "itself answers"),
            (&[("TETHERD_DNS_LISTEN", "127.0.0.1:1055")], "listens on 127.0.0.1:1055, and so does"),
            (&[("TETHERD_DNS_LISTEN", "unix:/run/dns")], "an IP address and a port"),
        ] {
            let said = read(pairs).expect_err(problem);
            assert!(said.contains(problem), "{said}");
        }
    }
}
