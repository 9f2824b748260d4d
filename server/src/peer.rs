//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Weak;
use std::task::{Context, Poll, Waker};

use axum::http::HeaderMap;
use tokio::io::Interest;
use tokio::net::TcpStream;

tokio::task_local! {
    static PEER: Peer;
}

/// The client of a request: an extension of the request, and known to everything that runs for it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address. Behind a proxy that is the proxy's, unless `[oslo_middleware]
    /// enable_proxy_headers_parsing` is on.
    pub address: IpAddr,
    socket: Weak<TcpStream>,
}

impl Peer {
    /// The peer of a connection.
    pub(crate) fn new(address: IpAddr, socket: Weak<TcpStream>) -> Self {
        Self { address: address.to_canonical(), socket }
    }

    /// The peer as the proxy in front tells it. Only the last entry of `X-Forwarded-For` is looked at: the
    /// proxy wrote that one, and the client may have written the others.
    pub(crate) fn forwarded(mut self, headers: &HeaderMap) -> Self {
        let last = headers.get_all("x-forwarded-for").iter().next_back();
        let entry = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
        if let Some(address) = entry.and_then(|entry| entry.trim().parse::<IpAddr>().ok()) {
            self.address = address.to_canonical();
        }
        self
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

    #[test]
    fn only_the_entry_that_the_proxy_wrote_counts() {
        let direct: IpAddr = [192, 0, 2, 1].into();
        let peer = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().expect("a header"));
            }
            Peer::new(direct, Weak::new()).forwarded(&headers).address.to_string()
        };
        assert_eq!(peer(&[]), "192.0.2.1");
        assert_eq!(peer(&["198.51.100.7"]), "198.51.100.7");
        assert_eq!(peer(&["10.0.0.1, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(peer(&["198.51.100.7", "10.0.0.1 ,2001:db8::1"]), "2001:db8::1");
        assert_eq!(peer(&["198.51.100.7, unknown"]), "192.0.2.1");
    }
}
