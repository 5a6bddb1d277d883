//! Tells settings from the variables that Kubernetes adds for a Service.

/// Whether a variable is one of those that Kubernetes adds for a Service; `name` is what follows the prefix, `TETHERD_` or `TS_`.
///
/// Kubernetes puts `TETHERD_SERVICE_HOST`, `TETHERD_PORT_1055_TCP_ADDR` and the like into every pod beside a Service
/// named `tetherd`, and `TETHERD_GATEWAY_PORT=tcp://10.0.0.1:1055` beside one named `tetherd-gateway`. They are not
/// meant for the daemon.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
pub fn is_service_link(name: &str, value: &str) -> bool {
    let after_port = |tail: &str| {
        let mut parts = tail.split('_');
        parts.next().is_some_and(|port| port.parse::<u16>().is_ok())
            && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    name == "PORT"
        || name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
        || name.ends_with("SERVICE_HOST")
        || name.contains("SERVICE_PORT")
        || name.match_indices("PORT_").any(|(at, port)| after_port(&name[at + port.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_of_kubernetes_are_told_from_settings() {
        for name in
            ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_SOCKS", "PORT", "PORT_1055_TCP", "PORT_1055_TCP_ADDR"]
        {
            assert!(is_service_link(name, "x"), "{name}");
        }
        for name in ["SOKS_LISTEN", "SOCKS_LISTEN", "SOCKS_PORT", "PORTS_TCP"] {
            assert!(!is_service_link(name, "127.0.0.1:1055"), "{name}");
        }
        assert!(is_service_link("GATEWAY_PORT", "tcp://10.0.0.1:1055"), "a service named tetherd-gateway");
    }
}
