//! Fetches a page by reqwest, or posts a file.
//!
//! Arguments: URL, and a file. The proxy is that of `PROXY` where it is set, else the one that reqwest finds by itself.

use std::error::Error;
use std::{env, fs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut arguments = env::args().skip(1);
    let url = arguments.next().ok_or("a URL is missing")?;
    let mut builder = reqwest::Client::builder();
    if let Ok(proxy) = env::var("PROXY") {
        builder = builder.proxy(reqwest::Proxy::all(proxy)?);
    }
    let client = builder.build()?;
    let request = match arguments.next() {
        Some(file) => client.post(url).body(fs::read(file)?),
        None => client.get(url),
    };
    print!("{}", request.send().await?.error_for_status()?.text().await?);
    Ok(())
}
