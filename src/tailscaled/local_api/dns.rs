//! The LocalAPI's `dns-query`: asks tailscaled's own resolver.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use simple_dns::Packet;
use simple_dns::rdata::RData;

use crate::tailscaled::local_api::types::DnsQueryResponse;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};

impl LocalApi {
    /// Looks up the addresses in the records of `kind`, `A` or `AAAA`, that `name` has; none where the resolver has no
    /// answer. `name` goes into the request's path as it is.
    pub async fn query_dns(&self, name: &str, kind: &str) -> Result<Vec<IpAddr>, LocalApiError> {
        let path = format!("/localapi/v0/dns-query?name={name}&type={kind}");
        match self.get::<DnsQueryResponse>(path).await {
            Ok(response) => Ok(addresses_in(&STANDARD.decode(response.bytes.unwrap_or_default()).unwrap_or_default())),
            Err(LocalApiError::Refused { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn addresses_in(message: &[u8]) -> Vec<IpAddr> {
    let Ok(message) = Packet::parse(message) else { return Vec::new() };
    let addresses = message.answers.iter().filter_map(|record| match &record.rdata {
        RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
        RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.address.to_be_bytes())),
        _ => None,
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_a_message() {
        let message = b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x01x\0\0\x01\0\x01\0\0\x02X\0\x04\x64\x40\0\x05";
        assert_eq!(addresses_in(message), ["100.64.0.5".parse::<IpAddr>().expect("an address")]);
        assert!(addresses_in(b"junk").is_empty());
    }
}
