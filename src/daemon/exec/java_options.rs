//! The proxy as Java's own system properties have it, for `JAVA_TOOL_OPTIONS`.
//!
//! Java's `HttpURLConnection` and `HttpClient`, and most libraries on them, heed no `HTTP_PROXY`.
//! <https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/net/doc-files/net-properties.html>

use std::path::Path;

use ipnet::IpNet;

use crate::daemon::exec::proxy_variables::ProxyVariables;
use crate::environment::Environment;

/// The variable from which a JVM takes options, whatever starts it.
pub const JAVA_TOOL_OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// Whether `program` is a JVM, or this the environment of a Java runtime of Lambda.
pub fn is_java(program: &Path, environment: &Environment) -> bool {
    let runtime = environment.get("AWS_EXECUTION_ENV").map_or("", String::as_str);
    program.file_name().is_some_and(|name| name == "java") || runtime.starts_with("AWS_Lambda_java")
}

/// Returns what `JAVA_TOOL_OPTIONS` is to be; `None` where it names a proxy already, or the proxy asks for a password, which
/// Java takes from no property.
pub fn java_tool_options(variables: &ProxyVariables, environment: &Environment) -> Option<String> {
    let given = environment.get(JAVA_TOOL_OPTIONS).map_or("", |given| given.trim());
    let address = variables.value("HTTP_PROXY")?.strip_prefix("http://").filter(|address| !address.contains('@'))?;
    if given.contains("proxyHost") || given.contains("ProxyHost") {
        return None;
    }
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let direct: Vec<String> = variables.value("NO_PROXY")?.split(',').flat_map(patterns).collect();
    // One property for both schemes.
    let direct = direct.join("|");
    let options = format!(
        "-Dhttp.proxyHost={host} -Dhttp.proxyPort={port} -Dhttps.proxyHost={host} -Dhttps.proxyPort={port} -Dhttp.nonProxyHosts={direct}"
    );
    Some(if given.is_empty() { options } else { format!("{given} {options}") })
}

/// Returns an entry of `NO_PROXY` as patterns of Java's: a star stands at the beginning or at the end alone, and networks are
/// unknown. A network that does not end at a dot is left out.
fn patterns(entry: &str) -> Vec<String> {
    if let Ok(network) = entry.parse::<IpNet>() {
        let kept = usize::from(network.prefix_len() / 8);
        let IpNet::V4(v4) = network else { return Vec::new() };
        if !(1..4).contains(&kept) || network.prefix_len() % 8 != 0 {
            return Vec::new();
        }
        let octets = v4.network().octets();
        let begin: Vec<String> = octets.iter().take(kept).map(u8::to_string).collect();
        return vec![format!("{}.*", begin.join("."))];
    }
    match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
        // Within an option a blank would begin another one.
        _ if entry.is_empty() || entry.contains([' ', '"', '\'', '|']) => Vec::new(),
        Some(suffix) => vec![format!("*.{suffix}")],
        None if entry == "*" => vec![entry.to_owned()],
        None if entry.contains(':') => vec![format!("[{}]", entry.trim_matches(['[', ']']))],
        None if entry.parse::<std::net::Ipv4Addr>().is_ok() => vec![entry.to_owned()],
        None => vec![entry.to_owned(), format!("*.{entry}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Credentials;
    use crate::config::types::enums::AllProxy;
    use crate::environment::environment;
    use crate::secret::Secret;

    fn options(given: &[(&str, &str)], credentials: Option<&Credentials>) -> Option<String> {
        let environment = environment(given);
        let proxy = ("127.0.0.1:1055".parse().expect("an address"), AllProxy::Http);
        java_tool_options(&ProxyVariables::new(proxy, credentials, &[], &environment), &environment)
    }

    #[test]
    fn a_jvm_is_known_by_its_name_and_a_runtime_of_lambda_by_its_variable() {
        let of =
            |program: &str, runtime: &str| is_java(program.as_ref(), &environment(&[("AWS_EXECUTION_ENV", runtime)]));
        assert!(of("/var/lang/bin/java", "") && of("/var/runtime/bootstrap", "AWS_Lambda_java21"));
        assert!(!of("/usr/bin/python3", "AWS_Lambda_python3.13") && !of("/usr/bin/javac", ""));
    }

    #[test]
    fn what_is_given_stays_and_a_proxy_that_is_given_wins() {
        let plain = options(&[], None).expect("options");
        assert!(plain.starts_with("-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=1055 -Dhttps.proxyHost="), "{plain}");
        let more = options(&[(JAVA_TOOL_OPTIONS, "-XX:+UseSerialGC")], None).expect("options");
        assert_eq!(more, format!("-XX:+UseSerialGC {plain}"));
        for own in ["-Dhttp.proxyHost=corp", "-DsocksProxyHost=corp"] {
            assert_eq!(options(&[(JAVA_TOOL_OPTIONS, own)], None), None);
        }
        let credentials = Credentials { user: "a".into(), password: Secret::new("word") };
        assert_eq!(options(&[], Some(&credentials)), None);
    }

    #[test]
    fn what_is_direct_is_written_as_java_reads_it() {
        for (entry, expected) in [
            ("127.0.0.0/8", &["127.*"][..]),
            ("10.1.0.0/16", &["10.1.*"]),
            ("10.0.0.0/12", &[]),
            ("fd00::/8", &[]),
            ("::1", &["[::1]"]),
            ("169.254.169.254", &["169.254.169.254"]),
            (".svc", &["*.svc"]),
            ("*.corp", &["*.corp"]),
            ("db", &["db", "*.db"]),
            ("*", &["*"]),
            ("a b", &[]),
        ] {
            assert_eq!(patterns(entry), expected, "{entry}");
        }
    }
}
