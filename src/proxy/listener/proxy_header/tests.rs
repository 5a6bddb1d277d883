//! Tests what a header says, what is none, and how much of it is read.

use super::*;
use std::os::unix::net::UnixStream;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::net::unix_stream::LocalStream;

/// What comes behind the header: a second one, which belongs to the next protocol.
const NEXT: &[u8] = b"PROXY TCP4 9.9.9.9 9.9.9.9 9 9\r\n\x05\x01\x00";

/// A header of version 2: command and family, and what stands behind the length.
fn block(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).expect("fits").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, addresses].concat()
}

fn v4() -> Vec<u8> {
    [&[192, 0, 2, 7, 192, 0, 2, 1][..], &56_324_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

fn v6() -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().expect("an address").octets();
    let (source, destination) = (address("2001:db8::7"), address("2001:db8::1"));
    [&source[..], &destination, &56_324_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

/// Headers, and the address that they name.
fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let (first, sixth) = (Some("192.0.2.7:56324"), Some("[2001:db8::7]:56324"));
    let mut tlvs = v4();
    // The checksum and the NLB's own type, then as many bytes as a header may have.
    tlvs.extend(b"\x03\x00\x04\xfd\x16\xf4\x38\xea\x00\x17\x01vpce-08d2bf15fac5001c9");
    let mut long = v6();
    long.resize(LONGEST_BLOCK - BLOCK_HEAD, 0x20);
    vec![
        // The example of section 2.1, and its greatest lengths.
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(), Some("192.168.0.1:56324")),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), Some("255.255.255.255:65535")),
        (
            format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":")).into(),
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        (b"PROXY TCP6 2001:DB8::7 ::1 56324 0\r\n".to_vec(), sixth),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":")).into(), None),
        (b"PROXY UNKNOWN \xff\0 whatever \r\n".to_vec(), None),
        (block(0x21, 0x11, &v4()), first),
        (block(0x21, 0x21, &v6()), sixth),
        (block(0x21, 0x11, &tlvs), first),
        (block(0x21, 0x21, &long), sixth),
        // LOCAL: whatever its addresses say, and none at all.
        (block(0x20, 0x00, b""), None),
        (block(0x20, 0x11, &v4()), None),
        (block(0x20, 0xf7, b"abc"), None),
        // As an NLB looks whether somebody is there.
        (block(0x20, 0x11, &[&[0; 12][..], &[3, 0, 4, 1, 2, 3, 4], &[4, 0, 62], &[0; 62]].concat()), None),
        (block(0x21, 0x00, b""), None),
        (block(0x21, 0x00, &v4()), None),
        (block(0x21, 0x10, b""), None),
        (block(0x21, 0x12, &v4()), None),
        (block(0x21, 0x22, &v6()), None),
        (block(0x21, 0x31, &[b'/'; 216]), None),
        (block(0x21, 0x32, &[b'/'; 217]), None),
    ]
}

/// Lines that are none of version 1.
const BAD_LINES: &[&str] = &[
    "PROXY TCP4 192.0.2.7 192.0.2.1 56324\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443 \r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443 1\r\n",
    "PROXY TCP4  192.0.2.7 192.0.2.1 56324 443\r\n",
    "PROXY TCP4\t192.0.2.7 192.0.2.1 56324 443\r\n",
    "PROXY TCP4 192.0.2.07 192.0.2.1 56324 443\r\n",
    "PROXY TCP4 192.0.2 192.0.2.1 56324 443\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.256 56324 443\r\n",
    "PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n",
    "PROXY TCP6 192.0.2.7 192.0.2.1 56324 443\r\n",
    "PROXY TCP6 2001:db8::7%eth0 2001:db8::1 56324 443\r\n",
    "PROXY TCP6 [2001:db8::7] 2001:db8::1 56324 443\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.1 +56324 443\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.1 056324 443\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.1 65536 443\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.1 56324 -1\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.1 56324 \r\n",
    "PROXY UDP4 192.0.2.7 192.0.2.1 56324 443\r\n",
    "PROXY tcp4 192.0.2.7 192.0.2.1 56324 443\r\n",
    "PROXY UNKNOWNS\r\n",
    "PROXY \r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\n\r\n",
    "PROXY UNKNOWN\r\r\n",
    "PROXY UNKNOWN\n",
];

/// What begins like no header.
const OTHERS: [&str; 7] = [
    "proxy TCP4 192.0.2.7 192.0.2.1 1 1\r\n",
    "PROXYTCP4",
    "PROXY:",
    "CONNECT web:80 HTTP/1.1\r\n",
    "\x05\x01\x02",
    "\x16\x03\x01",
    "\r\n\r\n\r",
];

/// Blocks that are none of version 2.
fn bad_blocks() -> Vec<Vec<u8>> {
    let table = [
        (0x22, 0x11, v4()),
        (0x2f, 0x11, v4()),
        (0x11, 0x11, v4()),
        (0x31, 0x11, v4()),
        (0x01, 0x11, v4()),
        (0x21, 0x41, v4()),
        (0x21, 0x13, v4()),
        (0x21, 0x1f, v4()),
        (0x21, 0x11, v4()[..11].to_vec()),
        (0x21, 0x12, Vec::new()),
        (0x21, 0x21, v6()[..35].to_vec()),
        (0x21, 0x31, vec![0; 215]),
    ];
    table.into_iter().map(|(command, family, addresses)| block(command, family, &addresses)).collect()
}

/// What is no header, and a part of the reason.
fn bad() -> Vec<(Vec<u8>, &'static str)> {
    let long = format!("PROXY UNKNOWN {}", "f".repeat(93));
    let mut malformed = bad_blocks();
    malformed.extend(BAD_LINES.iter().map(|line| line.as_bytes().to_vec()));
    malformed.push(b"PROXY TCP4 \xff.0.2.7 192.0.2.1 56324 443\r\n".to_vec());
    let mut table: Vec<_> = malformed.into_iter().map(|bytes| (bytes, "is malformed")).collect();
    table.extend(OTHERS.map(|text| (text.into(), "without a header")));
    table.extend([long.clone() + "\r\n", long].map(|line| (line.into(), "longer than 107 bytes")));
    table.push((block(0x21, 0x11, &[4; LONGEST_BLOCK - BLOCK_HEAD + 1]), "longer than 4096 bytes"));
    table.push((block(0x20, 0x00, &[4; 65_535]), "longer than 4096 bytes"));
    table
}

/// The address that a connection's header names, and what is left to read behind it.
type Read = (Result<Option<SocketAddr>, String>, Vec<u8>);

/// Reads what `sending` sends, to its end behind a header; else the connection is closed.
async fn read_from(mut stream: Stream, sending: impl Future<Output = ()>) -> Read {
    let reading = async move {
        let (read, mut left) = (read_header(&mut stream).await, Vec::new());
        if read.is_ok() {
            stream.read_to_end(&mut left).await.expect("all of it");
        }
        (read.map_err(|error| error.to_string()), left)
    };
    tokio::join!(reading, sending).0
}

/// Sends `bytes` over a unix socket in pieces of `size`.
async fn read_in_pieces(bytes: &[u8], size: usize) -> Read {
    let (here, there) = LocalStream::pair().expect("a pair");
    let mut there = LocalStream::new(there).expect("is watched");
    let sending = async move {
        for piece in bytes.chunks(size) {
            // Nobody reads any more behind what is no header.
            let _ = there.write_all(piece).await;
            tokio::task::yield_now().await;
        }
    };
    read_from(Stream::Unix(here), sending).await
}

/// As [`read_in_pieces`], over TCP and at once.
async fn read_by_tcp(bytes: &[u8]) -> Read {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut there = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
    let (here, _) = listener.accept().await.expect("a client");
    let sending = async move { _ = there.write_all(bytes).await };
    read_from(Stream::Tcp(here), sending).await
}

#[tokio::test(flavor = "current_thread")]
async fn headers_name_a_client_or_nobody_and_what_follows_stays_unread() {
    for (header, address) in good() {
        let shown = header.escape_ascii().to_string();
        let expected = (Ok(address.map(|address| address.parse().expect(address))), NEXT.to_vec());
        let bytes = [&header[..], NEXT].concat();
        assert_eq!(read_by_tcp(&bytes).await, expected, "{shown}");
        for size in [1, 2, 13, 100, 5_000] {
            assert_eq!(read_in_pieces(&bytes, size).await, expected, "{size}: {shown}");
        }
        assert_eq!(read_in_pieces(&header, 1).await, (expected.0, Vec::new()), "{shown}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn anything_else_is_no_header_and_the_reason_says_why() {
    for (bytes, reason) in bad() {
        let shown = bytes.escape_ascii().to_string();
        for size in [1, 5_000, 70_000] {
            let error = read_in_pieces(&[&bytes[..], NEXT].concat(), size).await.0.expect_err(&shown);
            assert!(error.contains(reason), "{size}: {shown}: {error}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_header_that_ends_too_soon_is_none() {
    assert_eq!(read_in_pieces(b"", 1).await.0, Err("it sent nothing".into()));
    for (header, _) in good().into_iter().filter(|(header, _)| header.len() < 300) {
        for length in 1..header.len() {
            let error = read_in_pieces(&header[..length], 7).await.0.expect_err("is not whole");
            assert!(error.contains("ended within"), "{length} of {}: {error}", header.escape_ascii());
        }
    }
}

/// A header with some bytes changed, left out, put in or cut off.
fn mutated(random: &mut fastrand::Rng, headers: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.choice(headers).expect("there are some").clone();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len().max(1)).min(bytes.len());
        match random.u8(..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, *random.choice(b"\r\n 0P\0\xff").expect("some")),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = random.u8(..),
            _ => {}
        }
    }
    bytes
}

#[tokio::test(flavor = "current_thread")]
async fn ten_thousand_mutations_panic_nowhere_and_nothing_behind_a_header_is_read() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let headers: Vec<_> = good().into_iter().map(|(header, _)| header).filter(|header| header.len() < 300).collect();
    for _ in 0..10_000 {
        let bytes = [&mutated(&mut random, &headers)[..], NEXT].concat();
        let shown = bytes.escape_ascii().to_string();
        let (read, left) = read_in_pieces(&bytes, random.usize(1..200)).await;
        let whole = whole_length(&bytes);
        match read {
            Ok(address) => {
                let length = whole.ok().flatten().unwrap_or_else(|| panic!("is no header: {shown}"));
                assert_eq!(left, bytes[length..], "{shown}");
                assert_eq!(source_of(&bytes[..length]).ok(), Some(address), "{shown}");
            }
            Err(error) => {
                let source = whole.map(|length| length.map(|length| source_of(&bytes[..length]).is_ok()));
                assert!(!matches!(source, Ok(Some(true))), "{shown}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_says_nothing_behind_its_header_is_not_waited_for() {
    let (here, there) = UnixStream::pair().expect("a pair");
    here.set_nonblocking(true).expect("set");
    let mut stream = Stream::Unix(LocalStream::new(here).expect("is watched"));
    io::Write::write_all(&mut &there, &block(0x21, 0x11, &v4())).expect("sent");
    assert!(read_header(&mut stream).await.expect("a header").is_some());
}
