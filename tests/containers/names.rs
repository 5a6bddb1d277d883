//! Tests DNS in an image without /etc/nsswitch.conf and its libraries.
//!
//! A static program finds names there: in /etc/hosts and by the servers of /etc/resolv.conf. Names that lead into the
//! tailnet are resolved by tetherd itself, others by tailscaled.

use testbed::daemon::SOCKS;
use testbed::names::NoNames;
use testbed::server::{PAGE, Server};
use testbed::{http, socks};

use crate::scene::Scene;

fn page(host: &str) -> String {
    let stream = socks::connect(SOCKS, host, 80, None).unwrap_or_else(|error| panic!("{host}: {error}"));
    http::get(stream, "web", "/").unwrap_or_else(|error| panic!("{host}: {error}")).text()
}

#[test]
fn names_of_etc_hosts_and_of_dns_are_found_inside_and_outside_the_tailnet() {
    let scene = Scene::new();
    let _names = NoNames::start().expect("a name server");
    let _server = Server::http(80).expect("server");
    let node = scene.web.addresses().0;
    let (office, outside) = (format!("--add-host=office.example:{node}"), "--add-host=outside.example:127.0.0.1");
    scene.run_healthy(&[&office, outside]);
    // By /etc/hosts, through the tailnet and directly.
    assert_eq!(page("office.example"), PAGE);
    assert_eq!(page("outside.example"), PAGE);
    // By DNS, the same.
    assert_eq!(page(&format!("{}.example.com", node.to_string().replace('.', "-"))), PAGE);
    assert_eq!(page("127-0-0-1.example.com"), PAGE);
    let unknown = socks::connect(SOCKS, "nobody.example.com", 80, None).expect_err("nobody has this name");
    assert_eq!(unknown.reply(), Some(4));
}
