//! Who is at the other end of a connection, and for whom a proxy there speaks.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use tokio::io::Interest;
use tokio::net::TcpStream;

tokio::task_local! {
    static PEER: Peer;
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The headers of a proxy that does not write `Forwarded`. Where one of them is, `Forwarded` is not looked at: most
/// proxies pass it on as the client sent it.
pub(crate) const X_FORWARDED: [HeaderName; 4] = [
    FORWARDED_FOR,
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
];

/// Whether there is any header that proxies write.
pub(crate) fn says_anything(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == header::FORWARDED || name.as_str().starts_with("x-forwarded-"))
}

/// The proxies whose headers are believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    networks: Vec<IpNet>,
    are_named: bool,
}

impl Proxies {
    /// Those of an operator's list: addresses and networks. The headers of a named proxy are believed, and those of
    /// the named proxies behind which it is.
    ///
    /// # Errors
    /// A sentence with the word that is neither an address nor a network.
    pub fn named<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        Ok(Self { networks: words.into_iter().map(network_of).collect::<Result<_, _>>()?, are_named: true })
    }

    /// Any that connects from this machine or from a private network. A client may be there too, so only what the
    /// nearest proxy says is believed.
    pub fn private() -> Self {
        const PRIVATE: [&str; 7] = [
            "127.0.0.0/8",
            "::1/128",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ];
        let networks = PRIVATE.iter().filter_map(|network| network.parse().ok()).collect();
        Self { networks, are_named: false }
    }

    /// Whether an operator named them.
    pub fn are_named(&self) -> bool {
        self.are_named
    }

    /// Whether nobody named them, and some are believed.
    pub fn are_guessed(&self) -> bool {
        !self.are_named && !self.networks.is_empty()
    }

    /// Whether one at this address is believed.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client's address. `direct` is whoever has connected. While that is a proxy which is believed, it is the
    /// address that this proxy has written: the last entry of `X-Forwarded-For`, or of `Forwarded` where there is no
    /// `X-Forwarded-` header. What lies further to the left was there before, and may be the client's invention.
    pub fn client(&self, direct: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = direct.to_canonical();
        if !says_anything(headers) {
            return client;
        }
        for entry in hops(headers).into_iter().rev() {
            if !self.contain(client) {
                break;
            }
            // A proxy may keep to itself for whom it speaks: then it is the last one that is known.
            let Some(address) = entry else { break };
            client = address;
            if !self.are_named {
                break;
            }
        }
        client
    }
}

/// A network, or an address alone.
///
/// # Errors
/// A sentence with the word that is neither.
pub(crate) fn network_of(word: &str) -> Result<IpNet, String> {
    let network = word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("`{word}` is neither an address nor a network"))
}

/// Who asked each of the proxies, the nearest proxy's word last; nothing where it is no address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    if X_FORWARDED.iter().any(|name| headers.contains_key(name)) {
        return values(headers, &FORWARDED_FOR).map(address).collect();
    }
    forwarded(headers).iter().map(|hop| address(hop.client.as_deref()?)).collect()
}

/// The entries of a header that is a list, all of its lines together. A line that is no string is one empty entry.
pub(crate) fn values<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim)
}

/// An address as proxies write it: some put the port behind it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|a| a.ip()));
    address.ok().map(|a| a.to_canonical())
}

/// What one proxy says in `Forwarded` (RFC 7239) of whoever asked it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    /// `for`
    pub(crate) client: Option<String>,
    /// `proto`
    pub(crate) proto: Option<String>,
    /// `host`
    pub(crate) host: Option<String>,
}

/// The hops of `Forwarded`, the nearest proxy's last. What cannot be understood makes an empty hop: nobody further
/// away is believed then.
pub(crate) fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let mut hops = Vec::new();
    for line in headers.get_all(header::FORWARDED) {
        for element in split(line.to_str().unwrap_or("\""), ',') {
            hops.push(hop(element).unwrap_or_default());
        }
    }
    hops
}

fn hop(element: &str) -> Option<Hop> {
    let mut hop = Hop::default();
    for pair in split(element, ';').into_iter().filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let place = match name.trim().to_ascii_lowercase().as_str() {
            "for" => &mut hop.client,
            "proto" => &mut hop.proto,
            "host" => &mut hop.host,
            _ => continue,
        };
        let value = value.trim();
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None => value,
        };
        // Nothing that is looked at needs to be escaped; and a name that is there twice has no meaning.
        if value.contains(['"', '\\']) || place.replace(value.to_owned()).is_some() {
            return None;
        }
    }
    Some(hop)
}

/// Splits at a character that is not within quotes.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == at && !is_quoted
    })
    .collect()
}

/// The client of a request: an extension of the request, and known to everything that runs for it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address. Behind a proxy that is not believed it is the proxy's.
    pub address: IpAddr,
    /// Whether a proxy has connected that is believed.
    pub is_proxied: bool,
    /// Who has connected, proxy or not.
    pub direct: IpAddr,
    /// The client's address for the log.
    text: Arc<str>,
    socket: Weak<TcpStream>,
}

impl Peer {
    /// The peer of a connection.
    pub(crate) fn new(address: IpAddr, socket: Weak<TcpStream>) -> Self {
        let address = address.to_canonical();
        Self { address, is_proxied: false, direct: address, text: address.to_string().into(), socket }
    }

    /// The client for whom the peer speaks, if it is a proxy that is believed.
    pub(crate) fn through(mut self, proxies: &Proxies, headers: &HeaderMap) -> Self {
        self.is_proxied = proxies.contain(self.address);
        let client = proxies.client(self.address, headers);
        if client != self.address {
            self.address = client;
            self.text = client.to_string().into();
        }
        self
    }

    /// The client's address as a string, which is made once for a connection.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The peer of the request that the current task works for. `None` outside of requests.
    pub fn current() -> Option<Self> {
        PEER.try_with(Clone::clone).ok()
    }

    /// Runs `work` with this peer as the current one.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        PEER.scope(self, work).await
    }

    /// Whether the client has closed its sending side. It may still read, but most clients that do this
    /// have gone: the two cannot be told apart before something is sent.
    pub fn is_half_closed(&self) -> bool {
        let Some(socket) = self.socket.upgrade() else { return true };
        let ready = std::pin::pin!(socket.ready(Interest::READABLE));
        match ready.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }
}

/// Which addresses are counted as one: of IPv6, a client has a whole network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header"));
        }
        headers
    }

    fn client(proxies: &Proxies, direct: &str, lines: &[(&'static str, &str)]) -> String {
        proxies.client(direct.parse().expect("an address"), &headers(lines)).to_string()
    }

    #[test]
    fn named_proxies_are_walked_through_from_the_right() {
        let proxies = Proxies::named(["192.0.2.0/24", "10.0.0.5", "2001:db8:1::/48"]).expect("networks");
        for (direct, lines, wanted) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &[("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
            ("::ffff:192.0.2.1", &[("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
            // Whoever is not named is not believed.
            ("203.0.113.9", &[("x-forwarded-for", "198.51.100.7")], "203.0.113.9"),
            // What the client wrote lies further to the left.
            ("192.0.2.1", &[("x-forwarded-for", "10.0.0.1, 198.51.100.7")], "198.51.100.7"),
            ("192.0.2.1", &[("x-forwarded-for", "10.0.0.1, 198.51.100.7, 10.0.0.5")], "198.51.100.7"),
            (
                "192.0.2.1",
                &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "7.7.7.7,10.0.0.5")],
                "7.7.7.7",
            ),
            // All of them are proxies: the first one is the client.
            ("192.0.2.1", &[("x-forwarded-for", "192.0.2.2, 10.0.0.5")], "192.0.2.2"),
            // What is no address ends the walk.
            ("192.0.2.1", &[("x-forwarded-for", "198.51.100.7, unknown")], "192.0.2.1"),
            ("192.0.2.1", &[("x-forwarded-for", "198.51.100.7, , 10.0.0.5")], "10.0.0.5"),
            ("192.0.2.1", &[("x-forwarded-for", "")], "192.0.2.1"),
            ("192.0.2.1", &[("x-forwarded-for", "\u{e9}")], "192.0.2.1"),
            // Ports are left out.
            ("192.0.2.1", &[("x-forwarded-for", "198.51.100.7:4711")], "198.51.100.7"),
            ("2001:db8:1::9", &[("x-forwarded-for", "[2001:db8::7]:4711")], "2001:db8::7"),
            ("2001:db8:1::9", &[("x-forwarded-for", "2001:db8::7")], "2001:db8::7"),
            ("192.0.2.1", &[("forwarded", "for=198.51.100.7")], "198.51.100.7"),
            (
                "192.0.2.1",
                &[("forwarded", "For=\"[2001:db8::7]:4711\";proto=https , for=10.0.0.5;by=_x")],
                "2001:db8::7",
            ),
            (
                "192.0.2.1",
                &[("forwarded", "for=6.6.6.6"), ("forwarded", "for=7.7.7.7, FOR=\"10.0.0.5\"")],
                "7.7.7.7",
            ),
            ("192.0.2.1", &[("forwarded", "for=6.6.6.6, for=_hidden")], "192.0.2.1"),
            ("192.0.2.1", &[("forwarded", "for=6.6.6.6, proto=https")], "192.0.2.1"),
            ("192.0.2.1", &[("forwarded", "for=6.6.6.6;for=7.7.7.7")], "192.0.2.1"),
            ("192.0.2.1", &[("forwarded", "host=\"a,for=6.6.6.6\";for=7.7.7.7")], "7.7.7.7"),
            ("192.0.2.1", &[("forwarded", "for=\"6.6.6.6, for=7.7.7.7")], "192.0.2.1"),
            // A proxy that writes one of them may pass on the other as it came.
            ("192.0.2.1", &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "7.7.7.7")], "7.7.7.7"),
            ("192.0.2.1", &[("forwarded", "for=6.6.6.6"), ("x-forwarded-proto", "https")], "192.0.2.1"),
        ] {
            assert_eq!(client(&proxies, direct, lines), wanted, "{direct} {lines:?}");
        }
    }

    #[test]
    fn the_log_shows_whom_the_proxy_speaks_for() {
        let of = |direct: &str, told: &[(&'static str, &str)]| {
            let peer = Peer::new(direct.parse().expect("an address"), Weak::new());
            peer.through(&Proxies::private(), &headers(told)).text().to_string()
        };
        assert_eq!(of("::ffff:10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[("x-forwarded-for", "198.51.100.7")]), "198.51.100.7");
        assert_eq!(of("192.0.2.1", &[("x-forwarded-for", "198.51.100.7")]), "192.0.2.1");
    }

    #[test]
    fn of_private_proxies_only_the_nearest_is_believed() {
        let private = Proxies::private();
        for (direct, told, wanted) in [
            ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.1.2.3", "6.6.6.6, 192.168.7.7", "192.168.7.7"),
            ("fd00::1", "2001:db8::7", "2001:db8::7"),
            ("172.16.0.1", "7.7.7.7", "7.7.7.7"),
            ("172.32.0.1", "7.7.7.7", "172.32.0.1"),
            ("198.51.100.1", "7.7.7.7", "198.51.100.1"),
            ("2001:db8::1", "7.7.7.7", "2001:db8::1"),
        ] {
            assert_eq!(client(&private, direct, &[("x-forwarded-for", told)]), wanted, "{direct} {told}");
        }
        assert_eq!(client(&Proxies::default(), "127.0.0.1", &[("x-forwarded-for", "7.7.7.7")]), "127.0.0.1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        let e = Proxies::named(["10.0.0.0/8", "proxy.example"]).expect_err("a name");
        assert!(e.contains("`proxy.example`"), "{e}");
        assert!(Proxies::named(["10.0.0.0/33"]).is_err());
    }
}
