//! The client of a door: a stream socket, and TLS over it where the door has it.
//!
//! Of TLS one thread may read while another one writes, as of a socket. A client that is dropped closes its socket
//! without a word of TLS, as most programs do.

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use testbed::reset::reset_at_close;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Session tickets of a server with TLS 1.3: unread, they would make a close a reset.
const TICKETS: u32 = 2;

pub struct Client {
    pub socket: TcpStream,
    tls: Option<Arc<Tls>>,
}

struct Tls {
    session: Mutex<ClientConnection>,
    /// Held while records are on their way to the socket, which keeps their order.
    sending: Mutex<()>,
}

impl Client {
    /// Speaks as it is.
    pub fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// Shakes hands with a server at 127.0.0.1 that a CA of `ca` has signed.
    pub fn over_tls(mut socket: TcpStream, ca: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").context("no name")?;
        let mut session = ClientConnection::new(Arc::new(config), name)?;
        while session.is_handshaking() || session.tls13_tickets_received() < TICKETS {
            session.complete_io(&mut socket)?;
        }
        let tls = Tls { session: Mutex::new(session), sending: Mutex::new(()) };
        Ok(Self { socket, tls: Some(Arc::new(tls)) })
    }

    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, tls: self.tls.clone() })
    }

    /// Ends the client's side, by TLS as well; both sides of the socket where `how` says so.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            tls.send(&self.socket, |session| {
                session.send_close_notify();
                Ok(0)
            })?;
        }
        self.socket.shutdown(how)
    }

    /// Closes with a reset.
    pub fn reset(self) -> io::Result<()> {
        reset_at_close(&self.socket)
    }
}

impl Tls {
    /// Has `put` put something into the session, and sends all that it wants to say.
    fn send(
        &self,
        mut socket: &TcpStream,
        put: impl FnOnce(&mut ClientConnection) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, taken) = {
            let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            let (taken, mut records) = (put(&mut session)?, Vec::new());
            while session.wants_write() {
                session.write_tls(&mut records)?;
            }
            (records, taken)
        };
        socket.write_all(&records)?;
        Ok(taken)
    }

    /// Reads what has arrived; waits for more where there is nothing.
    fn read(&self, mut socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut records = [0; 16 << 10];
        loop {
            let read = self.session.lock().unwrap_or_else(PoisonError::into_inner).reader().read(buffer);
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The server's end without a word of TLS.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            let length = socket.read(&mut records)?;
            let mut arrived = Cursor::new(&records[..length]);
            let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            // At the end, too, which the session is told of by an empty read.
            loop {
                session.read_tls(&mut arrived)?;
                session.process_new_packets().map_err(io::Error::other)?;
                if arrived.position() == length as u64 {
                    break;
                }
            }
        }
    }
}

impl Read for &Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            Some(tls) => tls.read(&self.socket, buffer),
            None => (&self.socket).read(buffer),
        }
    }
}

impl Write for &Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            Some(tls) => tls.send(&self.socket, |session| session.writer().write(bytes)),
            None => (&self.socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
