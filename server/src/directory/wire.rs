//! The bytes between the library and a server: TCP, TLS around it where it is configured, and messages one by one, each looked at
//! by [`message`](super::message) before it is handed on. The library has one end of a pair of sockets, and none to a server.

use std::io;
use std::os::unix::net::UnixStream as Pair;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::{IpAddr, ServerName};
use url::{Host, Url};

use super::message::{Answer, Question, SEQUENCE, header};

/// All answers to one question are no longer than this, in bytes.
const MOST_ANSWERED: usize = 256 << 20;

/// And no more than these: the library keeps them until they are read, however small they are.
const MOST_ANSWERS: usize = 200_000;

/// A server that takes nothing for this long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Asks for TLS on this connection (RFC 4511, 4.14): message 1, an extended request of the name.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// How TLS begins.
#[derive(Debug, Clone)]
pub enum Tls {
    /// Not at all.
    None,
    /// At once.
    AtOnce(Arc<ClientConfig>),
    /// When the server has agreed to it.
    Asked(Arc<ClientConfig>),
}

/// A connection to a server, as the library's end of a pair.
///
/// # Errors
/// When there is none, or its certificate does not count.
pub async fn connect(url: &Url, tls: Tls) -> io::Result<Pair> {
    let (name, port) = server(url)?;
    let mut tcp = match &name {
        Host::Domain(name) => TcpStream::connect((name.as_str(), port)).await,
        Host::Ipv4(ip) => TcpStream::connect((*ip, port)).await,
        Host::Ipv6(ip) => TcpStream::connect((*ip, port)).await,
    }?;
    // Messages are small, and each is waited for.
    tcp.set_nodelay(true)?;
    let (ours, theirs) = UnixStream::pair()?;
    let shown = url.host_str().unwrap_or_default().to_owned();
    match tls {
        Tls::None => drop(tokio::spawn(relay(shown, tcp, ours))),
        Tls::AtOnce(config) => drop(tokio::spawn(relay(shown, secured(config, &name, tcp).await?, ours))),
        Tls::Asked(config) => {
            start_tls(&mut tcp).await?;
            drop(tokio::spawn(relay(shown, secured(config, &name, tcp).await?, ours)));
        }
    }
    theirs.into_std()
}

fn server(url: &Url) -> io::Result<(Host<String>, u16)> {
    let port = url.port().unwrap_or(if url.scheme() == "ldaps" { 636 } else { 389 });
    // The scheme is none that the web has, so that its addresses are names to the parser.
    let name = match url.host_str() {
        None | Some("") => "localhost",
        Some(name) => name,
    };
    let name = Host::parse(name).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    Ok((name, port))
}

async fn secured(
    config: Arc<ClientConfig>,
    name: &Host<String>,
    tcp: TcpStream,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = match name {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
        Host::Ipv4(ip) => ServerName::IpAddress(IpAddr::V4((*ip).into())),
        Host::Ipv6(ip) => ServerName::IpAddress(IpAddr::V6((*ip).into())),
    };
    TlsConnector::from(config).connect(name, tcp).await
}

/// Has TLS agreed to. Of what comes after the answer nothing is read: it would be from whoever is in between.
async fn start_tls(tcp: &mut TcpStream) -> io::Result<()> {
    tcp.write_all(START_TLS).await?;
    let mut message = Message::default();
    if !message.read(tcp).await? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let asked = Message { bytes: START_TLS.to_vec(), header: 2 };
    let answer = Answer::of(message.content()).map_err(fault)?;
    match (Question::of(asked.content()).is_some_and(|asked| asked.has(answer)), answer.code) {
        (true, Some(0)) => Ok(()),
        (true, Some(code)) => Err(io::Error::other(format!("TLS was answered with code {code}"))),
        _ => Err(fault("TLS was answered with something else")),
    }
}

fn fault(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A message with its header.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
    /// How long the header is.
    header: usize,
}

impl Message {
    /// Reads the next one, unless there is an end. No more memory is taken than what has come needs.
    async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        self.bytes.clear();
        let length = loop {
            match header(&self.bytes).map_err(fault)? {
                Some((SEQUENCE, header, length)) => {
                    self.header = header;
                    break length;
                }
                Some(_) => return Err(fault("something that is no message")),
                None => {}
            }
            let mut byte = [0];
            if from.read(&mut byte).await? == 0 {
                return if self.bytes.is_empty() {
                    Ok(false)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            self.bytes.extend(byte);
        };
        let read = from.take(u64::try_from(length).unwrap_or(0)).read_to_end(&mut self.bytes).await?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(true)
    }

    fn content(&self) -> &[u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }

    /// What one that was long leaves behind is given back.
    fn shrink(&mut self) {
        if self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        }
    }
}

/// What was asked last, and how much was said to it.
#[derive(Default)]
struct Asked {
    question: Option<Question>,
    answers: usize,
    answered: usize,
}

/// Hands messages on, until either side ends.
async fn relay(name: String, server: impl AsyncRead + AsyncWrite, library: UnixStream) {
    let (from_server, mut to_server) = tokio::io::split(server);
    let (from_library, mut to_library) = library.into_split();
    let asked = Mutex::new(Asked::default());
    let questions = async {
        let (mut from, mut message) = (BufReader::new(from_library), Message::default());
        while message.read(&mut from).await? {
            *asked.lock().unwrap_or_else(PoisonError::into_inner) =
                Asked { question: Question::of(message.content()), ..Asked::default() };
            let sent = async {
                to_server.write_all(&message.bytes).await?;
                to_server.flush().await
            };
            tokio::time::timeout(WRITE_WITHIN, sent).await??;
        }
        io::Result::Ok(())
    };
    let answers = async {
        let (mut from, mut message) = (BufReader::new(from_server), Message::default());
        while message.read(&mut from).await? {
            let answer = Answer::of(message.content()).map_err(fault)?;
            {
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                (asked.answers, asked.answered) = (asked.answers + 1, asked.answered + message.bytes.len());
                if asked.answers > MOST_ANSWERS || asked.answered > MOST_ANSWERED {
                    return Err(fault("more than anybody reads"));
                }
                if answer.is_notice() {
                    return Ok(());
                }
                if !asked.question.is_some_and(|question| question.has(answer)) {
                    return Err(fault("an answer that nobody asked for"));
                }
            }
            to_library.write_all(&message.bytes).await?;
            message.shrink();
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = questions => ended,
        ended = answers => ended,
    };
    match ended {
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(server = name, why = %e, "a directory sent what is not read, and the connection is ended");
        }
        Err(e) => tracing::debug!(server = name, error = %e, "a connection to a directory ended"),
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_name_or_an_address() {
        let of = |url: &str| server(&Url::parse(url).expect("a URL")).expect("a server");
        assert_eq!(of("ldap://id.example"), (Host::Domain("id.example".to_owned()), 389));
        assert_eq!(of("ldaps://[::1]"), (Host::Ipv6(std::net::Ipv6Addr::LOCALHOST), 636));
        assert_eq!(of("ldaps://127.0.0.1:7"), (Host::Ipv4(std::net::Ipv4Addr::LOCALHOST), 7));
    }
}
