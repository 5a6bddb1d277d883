//! The variables by which programs find a proxy, and NO_PROXY.
//!
//! There is no standard; <https://about.gitlab.com/blog/we-need-to-talk-no-proxy/> compares who understands what.

use std::net::SocketAddr;

use crate::config::settings::Credentials;
use crate::config::types::enums::AllProxy;
use crate::environment::Environment;
use crate::net::connectable::connectable;
use crate::target::metadata;
use crate::text::percent_encoded;

/// Loopback, as address and as network, since not every program reads networks. It always bypasses the proxy, as the metadata
/// addresses of clouds do, which the policy refuses to all clients (`target/metadata`). tetherd's own requests heed `NO_PROXY` in
/// `auth_keys/https/egress_proxy`.
const LOOPBACK: [&str; 4] = ["localhost", "127.0.0.1", "127.0.0.0/8", "::1"];

const NO_PROXY: &str = "NO_PROXY";

/// Proxy variables, by upper-case name. Without Debug: the values hold the password.
pub struct ProxyVariables(Vec<(&'static str, String)>);

impl ProxyVariables {
    /// Builds the variables for the listener `proxy`, `ALL_PROXY` in the form `all_proxy`. The `NO_PROXY` of `environment` is
    /// kept, with `direct` added.
    pub fn new(
        (proxy, all_proxy): (SocketAddr, AllProxy),
        credentials: Option<&Credentials>,
        direct: &[String],
        environment: &Environment,
    ) -> Self {
        let address = connectable(proxy);
        let user = credentials.map_or_else(String::new, |given| {
            format!("{}:{}@", percent_encoded(&given.user), percent_encoded(given.password.expose()))
        });
        let http = format!("http://{user}{address}");
        let all = match all_proxy {
            AllProxy::Http => Some(http.clone()),
            // With the h, names are resolved by the proxy, which knows those of the tailnet.
            AllProxy::Socks5h => Some(format!("socks5h://{user}{address}")),
            AllProxy::Off => None,
        };
        let all = all.map(|address| ("ALL_PROXY", address));
        let others = [("HTTP_PROXY", http.clone()), ("HTTPS_PROXY", http), (NO_PROXY, no_proxy(direct, environment))];
        Self(all.into_iter().chain(others).collect())
    }

    /// Returns the value of the variable with this upper-case name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Lists name and value, each in upper and lower case: programs disagree on which of them counts.
    pub fn in_both_cases(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().flat_map(|(name, value)| {
            [(*name).to_owned(), name.to_lowercase()].into_iter().map(|name| (name, value.as_str()))
        })
    }
}

/// Lists the variables that a command gets: those that its user has set, in either case, are left out, but for
/// `NO_PROXY`, which was merged.
pub fn without_those_set(variables: ProxyVariables, environment: &Environment) -> Vec<(String, String)> {
    let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    let (kept, new) = variables
        .0
        .into_iter()
        .partition(|(name, _)| *name != NO_PROXY && (is_set(name) || is_set(&name.to_lowercase())));
    let kept: Vec<_> = ProxyVariables(kept).0.into_iter().map(|(name, _)| name).collect();
    if !kept.is_empty() {
        tracing::info!(names = kept.join(" "), "set already, and left as they are for the command");
    }
    ProxyVariables(new).in_both_cases().map(|(name, value)| (name, value.to_owned())).collect()
}

/// Merges the hosts that are always direct, `direct` and those in `environment`, each once.
fn no_proxy(direct: &[String], environment: &Environment) -> String {
    let given = [NO_PROXY, "no_proxy"].into_iter().filter_map(|name| environment.get(name));
    let given = given.flat_map(|list| list.split([',', ' ', '\t', '\n'])).filter(|host| !host.is_empty());
    let mut hosts: Vec<&str> = LOOPBACK.into_iter().chain(metadata::addresses()).collect();
    for host in direct.iter().map(String::as_str).chain(given) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    // Some programs know the star only when it stands alone, and it covers all the others.
    if hosts.contains(&"*") { "*".to_owned() } else { hosts.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;
    use crate::secret::Secret;

    fn variables(listening: &str, credentials: Option<&Credentials>, own: &Environment) -> ProxyVariables {
        in_form(AllProxy::Http, listening, credentials, own)
    }

    fn in_form(
        form: AllProxy,
        listening: &str,
        credentials: Option<&Credentials>,
        own: &Environment,
    ) -> ProxyVariables {
        let proxy = listening.parse().expect("address");
        ProxyVariables::new((proxy, form), credentials, &[".svc".to_owned()], own)
    }

    fn value(variables: &ProxyVariables, wanted: &str) -> String {
        let found = variables.in_both_cases().find(|(name, _)| name == wanted);
        found.expect(wanted).1.to_owned()
    }

    #[test]
    fn both_cases_point_to_the_listener() {
        let plain = variables("[::]:1055", None, &Environment::new());
        for name in ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            assert_eq!(value(&plain, name), "http://127.0.0.1:1055");
        }
        assert_eq!(value(&variables("[::1]:1", None, &Environment::new()), "ALL_PROXY"), "http://[::1]:1");
    }

    #[test]
    fn all_proxy_has_the_form_that_is_set() {
        let form = |form| in_form(form, "[::]:1055", None, &Environment::new());
        assert_eq!(value(&form(AllProxy::Socks5h), "all_proxy"), "socks5h://127.0.0.1:1055");
        let off = form(AllProxy::Off);
        let names: Vec<String> = off.in_both_cases().map(|(name, _)| name).collect();
        assert_eq!(names, ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"]);
    }

    #[test]
    fn credentials_are_percent_encoded() {
        let credentials = Credentials { user: "a@b".into(), password: Secret::new("p:/ä'%~") };
        let guarded = in_form(AllProxy::Socks5h, "127.0.0.1:1055", Some(&credentials), &Environment::new());
        assert_eq!(value(&guarded, "ALL_PROXY"), "socks5h://a%40b:p%3A%2F%C3%A4%27%25~@127.0.0.1:1055");
        assert_eq!(value(&guarded, "HTTP_PROXY"), "http://a%40b:p%3A%2F%C3%A4%27%25~@127.0.0.1:1055");
    }

    #[test]
    fn no_proxy_keeps_what_was_there_and_names_nothing_twice() {
        let own = environment(&[("NO_PROXY", "db.example, ::1"), ("no_proxy", "db.example,.corp")]);
        let expected = "localhost,127.0.0.1,127.0.0.0/8,::1,169.254.169.254,169.254.170.2,169.254.170.23,\
                        fd00:ec2::254,fd00:ec2::23,fd20:ce::254,168.63.129.16,\
                        192.0.0.192,fd00:c1::a9fe:a9fe,fd00:42::42,.svc,db.example,.corp";
        for name in ["NO_PROXY", "no_proxy"] {
            assert_eq!(value(&variables("127.0.0.1:1", None, &own), name), expected);
        }
        let all = environment(&[("no_proxy", "db.example,*")]);
        assert_eq!(value(&variables("127.0.0.1:1", None, &all), "NO_PROXY"), "*");
    }

    #[test]
    fn what_the_user_has_set_stays_in_both_cases() {
        let own = environment(&[("https_proxy", "http://corp:3128"), ("HTTP_PROXY", ""), ("NO_PROXY", "corp")]);
        let given = without_those_set(variables("127.0.0.1:1", None, &own), &own);
        let names: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"]);
    }
}
