//! Tests which clients resolve names themselves, as docs/clients.md says.
//!
//! The name `web` exists in the tailnet alone, so a client that resolves it itself does not get there.

use crate::scene::{Scene, assert_printed, page};

/// One request to `http://web/` by each client, with SCHEME to be filled in.
const CURL: (&str, &str) = ("sh", "curl --silent --show-error --proxy SCHEME://127.0.0.1:1055 http://web/");
const GO: (&str, &str) = ("sh", "HTTP_PROXY=SCHEME://127.0.0.1:1055 ./fetch http://web/");
const REQUESTS: (&str, &str) =
    ("python", "import requests; print(requests.get('http://web/', proxies={'http': 'SCHEME://127.0.0.1:1055'}).text)");
const HTTPX: (&str, &str) =
    ("python", "import httpx; print(httpx.Client(proxy='SCHEME://127.0.0.1:1055').get('http://web/').text)");
const UNDICI: (&str, &str) = (
    "js",
    "import { Socks5ProxyAgent, fetch } from 'undici'
     const dispatcher = new Socks5ProxyAgent('SCHEME://127.0.0.1:1055')
     console.log(await (await fetch('http://web/', { dispatcher })).text())
     await dispatcher.close()",
);
const AGENT: (&str, &str) = (
    "js",
    "import http from 'node:http'
     import { SocksProxyAgent } from 'socks-proxy-agent'
     const agent = new SocksProxyAgent('SCHEME://127.0.0.1:1055')
     http.get('http://web/', { agent }, (answer) => answer.pipe(process.stdout))",
);

#[test]
fn without_a_proxy_the_target_does_not_exist() {
    let scene = Scene::web().ready();
    for target in ["http://web/", "http://web.tail.test/", "http://100.64.0.1/"] {
        let complaint = scene.fails(&format!("curl --silent --show-error --connect-timeout 2 {target}"), "sh");
        assert!(["resolve host", "timed out", "Timeout"].iter().any(|why| complaint.contains(why)), "{complaint}");
    }
}

#[test]
fn names_are_sent_with_the_schemes_that_the_page_says() {
    let scene = Scene::web().ready();
    for (client, scheme, sends) in [
        (CURL, "socks5h", true),
        (CURL, "http", true),
        (CURL, "socks5", false),
        (REQUESTS, "socks5h", true),
        (REQUESTS, "http", true),
        (REQUESTS, "socks5", false),
        (HTTPX, "socks5h", true),
        (HTTPX, "socks5", true),
        (HTTPX, "http", true),
        (UNDICI, "socks5", true),
        (AGENT, "socks5h", true),
        (AGENT, "socks5", false),
        (GO, "socks5", true),
        (GO, "socks5h", true),
        (GO, "http", true),
    ] {
        let text = client.1.replace("SCHEME", scheme);
        if sends {
            assert_printed(&text, &scene.run_text(&text, client.0, &text), &[page()]);
        } else {
            let complaint = scene.fails(&text, client.0);
            assert!(
                ["resolve", "ENOTFOUND"].iter().any(|word| complaint.contains(word)),
                "{text} fails for want of a name: {complaint}"
            );
        }
    }
}
