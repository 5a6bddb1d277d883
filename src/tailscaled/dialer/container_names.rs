//! Names as the container's resolver reads them: hosts file, search list.
//!
//! A stock tailscaled applies both, but does not tell which name has answered, and rules are about that one.

use std::fs;

use crate::target::host::HostName;

/// What the container's files say of names.
#[derive(Default)]
pub struct ContainerNames {
    hosts: String,
    resolv: String,
}

impl ContainerNames {
    /// Reads the files; one that is not there says nothing.
    pub fn read() -> Self {
        let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Self { hosts: read("/etc/hosts"), resolv: read("/etc/resolv.conf") }
    }

    /// Returns the whole names that `name` stands for, in the order of resolv.conf(5), with a dot at their ends. One that the
    /// hosts file has comes first, and without a dot.
    pub fn whole_names(&self, name: &str) -> Vec<String> {
        let (whole, is_in_hosts) = (format!("{name}."), !self.aliases(name).is_empty());
        let (mut domains, mut dots) = (Vec::new(), 1);
        for line in self.resolv.lines() {
            let mut fields = line.split_whitespace();
            match fields.next() {
                Some("search") => domains = fields.collect(),
                Some("domain") => domains = fields.take(1).collect(),
                Some("options") => {
                    dots = fields
                        .filter_map(|option| option.strip_prefix("ndots:")?.parse().ok())
                        .next_back()
                        .unwrap_or(dots);
                }
                _ => {}
            }
        }
        let domains = domains.into_iter().map(|domain| domain.trim_matches('.')).filter(|domain| !domain.is_empty());
        let mut names: Vec<String> = domains.map(|domain| format!("{whole}{domain}.")).collect();
        let is_first = name.matches('.').count() >= dots || is_in_hosts;
        // Go finds a single label in the hosts file only without the dot at its end.
        let itself = if is_in_hosts { name.to_owned() } else { whole };
        names.insert(if is_first { 0 } else { names.len() }, itself);
        names
    }

    /// Returns all names of the lines of the hosts file that have this one.
    pub fn aliases(&self, name: &str) -> Vec<HostName> {
        let mut aliases = Vec::new();
        for line in self.hosts.lines() {
            let names = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
            let names: Vec<HostName> = names.filter_map(HostName::told).collect();
            if names.iter().any(|own| own.as_str() == name) {
                aliases.extend(names);
            }
        }
        aliases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tried_in_the_order_of_the_search_list() {
        let hosts = "10.0.0.1 Vault.corp.test vaulthost # other\n10.0.0.2 lone".to_owned();
        let of = |resolv: &str| ContainerNames { hosts: hosts.clone(), resolv: resolv.to_owned() };
        for (resolv, name, names) in [
            ("", "db", "db."),
            ("search a.test b.test.", "db", "db.a.test. db.b.test. db."),
            ("search a.test", "www.db", "www.db. www.db.a.test."),
            ("search a.test\noptions rotate ndots:2", "www.db", "www.db.a.test. www.db."),
            ("domain a.test\n#search b.test", "db", "db.a.test. db."),
            ("search a.test\ndomain b.test", "db", "db.b.test. db."),
            ("search .", "db", "db."),
            ("search a.test", "vaulthost", "vaulthost vaulthost.a.test."),
        ] {
            assert_eq!(of(resolv).whole_names(name).join(" "), names, "{resolv} {name}");
        }
        let aliases = |name| of("").aliases(name).iter().map(HostName::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(aliases("vaulthost"), "vault.corp.test vaulthost");
        assert_eq!((aliases("other"), aliases("lone")), (String::new(), "lone".to_owned()));
    }
}
