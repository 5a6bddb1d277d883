//! Tests `allow` and `deny`, which judge the name as given and its addresses.

use testbed::server::Server;

use crate::scene::{Scene, connect, reply_code, start_ready};

#[test]
fn with_an_allow_nothing_else_is_reached() {
    let scene = Scene::new();
    let _servers = [80, 81].map(|port| Server::http(port).expect("server"));
    let _daemon = start_ready(scene.daemon().env("TETHERD_ALLOW", "web:80,*.tail.test:81"));
    connect("web", 80).expect("is allowed");
    connect("web.tail.test", 81).expect("is allowed");
    assert_eq!(reply_code("web", 82), 2);
    assert_eq!(reply_code("127.0.0.1", 80), 2);
    assert_eq!(reply_code(&scene.web.addresses().0.to_string(), 80), 2);
}

#[test]
fn a_rule_about_an_address_holds_for_the_names_that_lead_there() {
    let scene = Scene::new();
    let _servers = [80, 81].map(|port| Server::http(port).expect("server"));
    let (v4, v6) = scene.web.addresses();
    let _daemon = start_ready(scene.daemon().env("TETHERD_DENY", &format!("{v4}:81,[{v6}]:81,127.0.0.0/8,::1")));
    connect("web", 80).expect("is not denied");
    for host in ["web", "web.tail.test", &v4.to_string(), &v6.to_string(), &format!("::ffff:{v4}")] {
        assert_eq!(reply_code(host, 81), 2, "{host}");
    }
    assert_eq!(reply_code("127.0.0.1", 80), 2);
    assert_eq!(reply_code("localhost", 80), 2, "a name cannot smuggle in a denied address");
}

#[test]
fn an_address_in_allow_is_reached_by_name_too() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let (v4, _) = scene.web.addresses();
    let _daemon = start_ready(scene.daemon().env("TETHERD_ALLOW", &format!("{v4}:80")));
    connect("web", 80).expect("is allowed by its address");
    assert_eq!(reply_code("web", 81), 2);
    assert_eq!(reply_code("localhost", 80), 2);
}

#[test]
fn another_form_of_an_address_is_no_way_around_a_rule() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let daemon = scene.daemon().env("TETHERD_DENY", "127.0.0.0/8,::1,100.64.0.1");
    let _daemon = start_ready(daemon);
    for host in ["0.0.0.0", "::", "::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:100.64.0.1", "web"] {
        assert_eq!(reply_code(host, 80), 2, "{host}");
    }
}

#[test]
fn a_network_in_allow_sends_no_packet_for_a_tailnet_address_past_the_tunnel() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_ALLOW", "100.64.0.0/10"));
    connect("::ffff:100.64.0.1", 80).expect("a node in another form");
    assert_eq!(reply_code("100.64.0.77", 80), 2);
}

#[test]
fn a_rule_about_one_name_of_a_node_is_about_the_other_too() {
    let scene = Scene::new();
    let _servers = [80, 81].map(|port| Server::http(port).expect("server"));
    let rules = [("web:80", "web.tail.test"), ("web.tail.test:80", "web"), ("*.tail.test:80", "web")];
    for (rule, other) in rules {
        let _daemon = start_ready(scene.daemon().env("TETHERD_DENY", rule));
        assert_eq!(reply_code(other, 80), 2, "deny {rule}");
        connect(other, 81).expect("another port is not denied");
    }
    for (rule, other) in rules {
        let _daemon = start_ready(scene.daemon().env("TETHERD_ALLOW", rule));
        connect(other, 80).expect("is allowed");
        assert_eq!(reply_code(other, 81), 2, "allow {rule}");
    }
}
