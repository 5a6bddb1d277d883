//! Dials what is certainly outside the tailnet while the tailnet cannot be had.
//!
//! For functions that are to go on without it (`lambda_on_failure = continue`): their SDKs ask AWS for everything, and would be
//! refused with the tailnet's targets. Certain are names of AWS's and public addresses: no exit node and no routes of other nodes are
//! used, so that nothing but nodes is reached through the tailnet.

use std::net::SocketAddr;

use crate::target::dial::{DialError, Located, ResolvedAddress};
use crate::target::host::{Host, Target};
use crate::target::ranges::{is_of_a_tailnet, is_private};

/// Domains in which AWS alone gives names: endpoints of its services, and of what runs there.
/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>
const AWS: [&str; 5] = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".on.aws"];

/// Whether nothing in a tailnet without an exit node and without routes can lead to `target`.
pub fn is_outside(target: &Target) -> bool {
    match &target.host {
        Host::Name(name) => AWS.iter().any(|domain| name.as_str().ends_with(domain)),
        Host::Ip(address) => !is_private(*address) && !is_of_a_tailnet(*address),
    }
}

/// Looks a target up by the system's resolver.
pub async fn look_up(target: &Target) -> Result<Located, DialError> {
    let addresses: Vec<SocketAddr> = match &target.host {
        Host::Ip(address) => vec![(*address, target.port).into()],
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), target.port)).await;
            found.map_err(|error| DialError::Host(format!("{target}: {error}")))?.collect()
        }
    };
    let resolved = |address: SocketAddr| ResolvedAddress { address: address.ip().to_canonical(), by_tailnet: false };
    Ok(Located { addresses: addresses.into_iter().map(resolved).collect(), ..Located::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_aws_and_public_addresses_are_outside_and_nothing_else() {
        for (host, expected) in [
            ("sqs.eu-west-1.amazonaws.com", true),
            ("SQS.eu-west-1.amazonaws.com.", true),
            ("s3.cn-north-1.amazonaws.com.cn", true),
            ("lambda.eu-west-1.api.aws", true),
            ("203.0.113.7", true),
            ("2a05:d018::1", true),
            ("amazonaws.com.example.com", false),
            ("amazonaws.com", false),
            ("evil-amazonaws.com", false),
            ("web", false),
            ("web.tail1234.ts.net", false),
            ("example.com", false),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("100.64.0.1", false),
            ("fd7a:115c:a1e0::1", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(Target::new(host, 443).is_ok_and(|target| is_outside(&target)), expected, "{host}");
        }
    }
}
