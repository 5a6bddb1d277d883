//! Addresses of a pod before a port, as people put them together in manifests.

use std::net::Ipv6Addr;

use crate::environment::Environment;

/// Variables in which manifests have the addresses of the pod, by the downward API.
const POD_ADDRESSES: [&str; 2] = ["POD_IPS", "POD_IP"];

/// Returns the addresses of `list` with brackets around an IPv6 address of the pod before a port: `$(POD_IP):9002` has none, and
/// without knowing the address nobody can tell where it ends. Separated by commas, as they came.
pub fn with_brackets(list: &str, environment: &Environment) -> String {
    let pods = POD_ADDRESSES.iter().filter_map(|name| environment.get(*name)).flat_map(|text| text.split(','));
    let pods: Vec<Ipv6Addr> = pods.filter_map(|text| text.trim().parse().ok()).collect();
    if pods.is_empty() {
        return list.to_owned();
    }
    let bracketed = list.split(',').map(|item| match item.trim().rsplit_once(':') {
        Some((host, port)) if host.parse().is_ok_and(|host: Ipv6Addr| pods.contains(&host)) => {
            format!("[{host}]:{port}")
        }
        _ => item.to_owned(),
    });
    bracketed.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn only_addresses_of_the_pod_get_brackets() {
        let environment = environment(&[("POD_IPS", "10.0.0.7, 2001:DB8::7"), ("POD_IP", "10.0.0.7")]);
        for (given, is) in [
            ("2001:db8::7:9002", "[2001:db8::7]:9002"),
            ("10.0.0.7:9002,2001:db8::7:9002", "10.0.0.7:9002,[2001:db8::7]:9002"),
            ("[2001:db8::7]:9002", "[2001:db8::7]:9002"),
            ("2001:db8::8:9002", "2001:db8::8:9002"),
            ("2001:db8::7", "2001:db8::7"),
            ("unix:/a:b", "unix:/a:b"),
            (":9002", ":9002"),
        ] {
            assert_eq!(with_brackets(given, &environment), is, "{given}");
        }
    }
}
