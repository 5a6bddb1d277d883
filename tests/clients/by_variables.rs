//! Tests what programs make of the variables of `tetherd env`.
//!
//! Each by its own library: the table of docs/clients.md.
//! Each runs with the default, with `env_all_proxy = socks5h` beside `HTTP_PROXY`, and with `ALL_PROXY` by SOCKS alone.

use std::process::Command;

use crate::scene::{Scene, client, page};

/// What comes of a program with a set of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Works,
    /// It fails, as where it does not use the proxy: names of the tailnet are unknown to the system's resolver.
    Fails,
}
use End::{Fails, Works};

/// A client as docs/clients.md names it, what it runs, and what comes of it: by the default, with SOCKS in `ALL_PROXY`
/// beside `HTTP_PROXY`, and with SOCKS in `ALL_PROXY` alone.
type Row = (&'static str, &'static str, [End; 3]);

const PYTHON: &[Row] = &[
    (
        "`requests` with PySocks",
        "python3 -c 'import requests; print(requests.get(\"http://web/\").text)'",
        [Works, Works, Works],
    ),
    (
        "`httpx` with `socksio`",
        "python3 -c 'import httpx; print(httpx.get(\"http://web/\").text)'",
        [Works, Works, Works],
    ),
    (
        "`httpx` without `socksio`",
        "python3 -c 'import sys; sys.modules[\"socksio\"] = None; import httpx; print(httpx.get(\"http://web/\").text)'",
        [Works, Fails, Fails],
    ),
    ("`openai` with `socksio`", "python3 models.py openai OpenAI http://web/v1 with", [Works, Works, Works]),
    ("`openai` without `socksio`", "python3 models.py openai OpenAI http://web/v1 without", [Works, Fails, Fails]),
    ("`anthropic` with `socksio`", "python3 models.py anthropic Anthropic http://web with", [Works, Works, Works]),
    (
        "`anthropic` without `socksio`",
        "python3 models.py anthropic Anthropic http://web without",
        [Works, Fails, Fails],
    ),
    ("`aiohttp`, `trust_env=True`", "python3 aiohttp.py", [Works, Works, Fails]),
    ("`boto3`", "python3 boto3.py", [Works, Works, Fails]),
    (
        "`urllib`",
        "python3 -c 'from urllib.request import urlopen; print(urlopen(\"http://web/\").read().decode())'",
        [Works, Works, Fails],
    ),
    ("`grpcio`", "python3 echo.py", [Works, Works, Fails]),
];

const OTHERS: &[Row] = &[
    ("curl", "curl --silent --show-error http://web/", [Works, Works, Works]),
    ("wget", "wget --quiet --output-document=- http://web/", [Works, Works, Fails]),
    ("Go `net/http`", "./fetch http://web/", [Works, Works, Fails]),
    (
        "Node `undici`, `EnvHttpProxyAgent`",
        "node --input-type=module --eval 'import { EnvHttpProxyAgent, fetch } from \"undici\";
         const dispatcher = new EnvHttpProxyAgent(); console.log(await (await fetch(\"http://web/\", { dispatcher })).text())'",
        [Works, Works, Fails],
    ),
    (
        "Node `axios`",
        "node --input-type=module --eval 'import axios from \"axios\"; console.log((await axios.get(\"http://web/\")).data)'",
        [Works, Works, Fails],
    ),
    ("Ruby `Net::HTTP`", "ruby -rnet/http -e 'puts Net::HTTP.get(URI(\"http://web/\"))'", [Works, Works, Fails]),
    (
        "PHP `curl`",
        "php -r '$c = curl_init(\"http://web/\"); exit(curl_exec($c) ? 0 : 1);'",
        [Works, Works, Works],
    ),
    ("Go `grpc`", "./call web:50051 < page.txt", [Works, Works, Fails]),
    (
        "grpcurl",
        "{ printf '\"'; cat page.txt; printf '\"'; } | grpcurl -plaintext -d @ web:50051 echo.Echo/Say | tr -d '\"'",
        [Works, Works, Fails],
    ),
    ("`reqwest`", "reqwest http://web/", [Works, Works, Fails]),
    ("`reqwest` with `socks`", "reqwest-socks http://web/", [Works, Works, Works]),
];

/// .NET's own library, called from Python: of its runtime the registries have one for this architecture alone.
#[cfg(target_arch = "x86_64")]
const DOTNET: &[Row] = &[(".NET `HttpClient`", "python3 dotnet.py", [Works, Works, Fails])];

/// Programs that are more than a line.
const FILES: [(&str, &str); 5] = [
    (
        "models.py",
        "import importlib, sys
sys.path.pop(0)
library, name, url, socksio = sys.argv[1:]
if socksio == 'without': sys.modules['socksio'] = None
client = getattr(importlib.import_module(library), name)(api_key='k', base_url=url, max_retries=0)
assert [model.id for model in client.models.list()] == ['model-of-the-tailnet']
print(open('page.txt').read())",
    ),
    (
        "aiohttp.py",
        "import sys
sys.path.pop(0)
import aiohttp, asyncio
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session, session.get('http://web/') as answer:
        print(await answer.text())
asyncio.run(main())",
    ),
    (
        "boto3.py",
        "import sys
sys.path.pop(0)
import boto3, botocore.config
config = botocore.config.Config(retries={'total_max_attempts': 1}, s3={'addressing_style': 'path'})
s3 = boto3.client('s3', endpoint_url='http://web', region_name='eu-west-1', config=config,
                  aws_access_key_id='a', aws_secret_access_key='b')
# Asks by `Expect: 100-continue` before it sends.
s3.put_object(Bucket='bucket', Key='key', Body=open('report.csv', 'rb').read())
print(s3.get_object(Bucket='bucket', Key='key')['Body'].read().decode())",
    ),
    (
        "echo.py",
        "import grpc
from google.protobuf.wrappers_pb2 import StringValue
with grpc.insecure_channel('web:50051') as channel:
    say = channel.unary_unary('/echo.Echo/Say', StringValue.SerializeToString, StringValue.FromString)
    print(say(StringValue(value=open('page.txt').read()), timeout=20).value)",
    ),
    (
        "dotnet.py",
        "import pythonnet
pythonnet.load('coreclr')
import clr
clr.AddReference('System.Net.Http')
from System.Net.Http import HttpClient
print(HttpClient().GetStringAsync('http://web/').Result)",
    ),
];

const WAYS: [&str; 3] = [
    "eval \"$(tetherd env)\"",
    "eval \"$(TETHERD_ENV_ALL_PROXY=socks5h tetherd env)\"",
    "eval \"$(TETHERD_ENV_ALL_PROXY=socks5h tetherd env)\"; unset HTTP_PROXY HTTPS_PROXY http_proxy https_proxy",
];

fn assert_rows(rows: &[Row]) {
    let mut scene = Scene::web();
    let (certificate, key) = scene.tailnet.certificate();
    let mut echo = Command::new(client("bin/echo-server"));
    echo.args([certificate, key]);
    scene.serve(echo, 50051);
    let scene = scene.ready();
    for (name, text) in FILES {
        std::fs::write(scene.path(name), text).expect("written");
    }
    let mut wrong = Vec::new();
    for (client, program, ends) in rows {
        for (way, end) in WAYS.iter().zip(ends) {
            let (found, why) = scene.tries(&format!("{way}\n{program}"), &page());
            if (found && *end == Fails) || (!found && *end == Works) {
                wrong.push(format!("{client}, {way}: {end:?} is wrong: {why}"));
            }
        }
        let [default, beside, alone] = ends.map(|end| if end == Works { "yes" } else { "no" });
        let row = format!("| {client} | {default} | {beside} | {alone} |");
        if !include_str!("../../docs/clients.md").contains(&row) {
            wrong.push(format!("docs/clients.md lacks the row {row}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pythons_clients_by_the_variables() {
    assert_rows(PYTHON);
}

#[test]
fn other_clients_by_the_variables() {
    assert_rows(OTHERS);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn dotnet_by_the_variables() {
    assert_rows(DOTNET);
}
