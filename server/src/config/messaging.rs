//! `[oslo_messaging_notifications]`, `[oslo_messaging_rabbit]` and what else says whom to tell of what was done.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Reader, Result, wrong};
use crate::oslo;
use crate::secret::Secret;

/// How notifications leave the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `messagingv2`: to the broker, in an envelope.
    Messaging,
    /// `messaging`: to the broker, without.
    Bare,
    /// `log`
    Log,
}

/// How a notification tells what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An event of CADF, with who did it.
    Cadf,
    /// The id of the object.
    Basic,
}

/// What is told, and to whom.
#[derive(Debug, Clone)]
pub struct Messaging {
    /// `[oslo_messaging_notifications] driver`, each once.
    pub drivers: Vec<Driver>,
    /// `[DEFAULT] notification_format`
    pub format: Format,
    /// `[DEFAULT] notification_opt_out`
    pub opt_out: Vec<String>,
    /// `[DEFAULT] default_publisher_id`
    pub publisher: Option<String>,
    /// `[DEFAULT] control_exchange`
    pub exchange: String,
    /// `[oslo_messaging_notifications] topics`
    pub topics: Vec<String>,
    /// `[oslo_messaging_notifications] retry`: how often what could not be sent is tried again; nothing is without end.
    pub retry: Option<u32>,
    /// `[vicar] max_waiting_notifications`
    pub waiting: usize,
    /// The broker, if a driver needs one.
    pub broker: Option<Broker>,
    /// The scheme of a `transport_url` that leads to no RabbitMQ.
    pub other_transport: Option<String>,
}

/// A RabbitMQ, or a cluster of it.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Its nodes.
    pub hosts: Vec<Host>,
    /// The virtual host.
    pub vhost: String,
    /// Whether connections begin with any of them, instead of the first.
    pub shuffle: bool,
    /// `rabbit_login_method`
    pub login: Login,
    /// `heartbeat_timeout_threshold`; 0 is none.
    pub heartbeat: Duration,
    /// The pause after the first attempt to connect, by how much it grows, and the longest.
    pub pause: (Duration, Duration, Duration),
    /// TLS, if connections begin with it.
    pub tls: Option<Tls>,
    /// How exchange and queues are declared.
    pub queues: Queues,
    /// The query of its URL: options of `[oslo_messaging_rabbit]`.
    pub query: Vec<(String, String)>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name or address.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Who connects.
    pub user: String,
    /// With which password.
    pub password: Secret,
}

/// How a connection proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Name and password.
    Plain,
    /// The same in another form.
    AmqPlain,
    /// The certificate.
    External,
}

/// Files of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom to trust; unset: those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// How exchange and queues are declared. Whoever else declares them must say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// Whether they outlive the broker's restart.
    pub durable: bool,
    /// Whether they end with their last user.
    pub auto_delete: bool,
    /// `rabbit_ha_queues`
    pub mirrored: bool,
    /// `rabbit_quorum_queue`, with its limits of deliveries, length and bytes; 0 is none.
    pub quorum: Option<(i64, i64, i64)>,
}

/// A URL of oslo.messaging: `rabbit://user:password@host:port,user:password@host:port/vhost?option=value`.
struct TransportUrl<'a> {
    scheme: &'a str,
    hosts: Vec<Host>,
    vhost: String,
    query: Vec<(String, String)>,
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl<'a> TransportUrl<'a> {
    /// The error never has a part of the URL.
    fn parse(url: &'a str) -> std::result::Result<Self, &'static str> {
        let (scheme, rest) =
            url.split_once("://").ok_or("is no URL, like rabbit://user:password@host:5672/")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = match rest.find('/') {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
            None => (rest, ""),
        };
        let mut hosts: Vec<Host> = hosts
            .split(',')
            .filter(|host| !host.is_empty())
            .map(host)
            .collect::<std::result::Result<_, _>>()?;
        if hosts.is_empty() {
            hosts.push(host("localhost")?);
        }
        let vhost = decoded(path);
        Ok(Self {
            scheme,
            hosts,
            vhost: if vhost.is_empty() { "/".to_owned() } else { vhost },
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        })
    }
}

fn host(text: &str) -> std::result::Result<Host, &'static str> {
    let (login, address) = text.rsplit_once('@').unwrap_or(("", text));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (user, password) = if user.is_empty() { ("guest", "guest") } else { (user, password) };
    let (name, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or("has an address whose bracket is not closed")?;
            (name, port.strip_prefix(':'))
        }
        // An IPv6 address without brackets has no port.
        None if address.matches(':').count() > 1 => (address, None),
        None => match address.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        None | Some("") => 5672,
        Some(port) => port.parse().map_err(|_| "has a port that is no number")?,
    };
    let name = if name.is_empty() { "localhost" } else { name };
    Ok(Host { name: name.to_owned(), port, user: decoded(user), password: Secret(decoded(password)) })
}

const RABBIT: &str = "oslo_messaging_rabbit";
const NOTIFICATIONS: &str = "oslo_messaging_notifications";

/// Options of the broker: what the URL's query says counts before the section.
struct BrokerOptions<'a> {
    reader: &'a Reader<'a>,
    query: &'a [(String, String)],
}

impl BrokerOptions<'_> {
    fn said(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.said(name).map(oslo::boolean) {
            Some(Some(flag)) => Ok(flag),
            Some(None) => {
                wrong(NOTIFICATIONS, "transport_url", format_args!("{name} is neither true nor false"))
            }
            None => self.reader.flag(RABBIT, name),
        }
    }

    fn number(&self, name: &str) -> Result<i64> {
        match self.said(name).map(str::parse) {
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => wrong(NOTIFICATIONS, "transport_url", format_args!("{name} is no number")),
            None => self.reader.number(RABBIT, name),
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        match self.said(name) {
            Some(text) => Ok(Some(text.to_owned())),
            None => self.reader.text(RABBIT, name),
        }
    }

    fn seconds(&self, name: &str) -> Result<Duration> {
        let seconds = u16::try_from(self.number(name)?.max(0)).unwrap_or(u16::MAX);
        Ok(Duration::from_secs(seconds.into()))
    }

    fn broker(&self, hosts: Vec<Host>, vhost: String) -> Result<Broker> {
        // An empty name is none, as in oslo.messaging: deployment tools write `ssl_ca_file=`.
        let file = |name| Ok(self.text(name)?.filter(|file| !file.is_empty()).map(PathBuf::from));
        let tls = if self.flag("ssl")? {
            Some(Tls {
                ca: file("ssl_ca_file")?,
                certificate: file("ssl_cert_file")?,
                key: file("ssl_key_file")?,
            })
        } else {
            None
        };
        let limits = (
            self.number("rabbit_quorum_delivery_limit")?,
            self.number("rabbit_quorum_max_memory_length")?,
            self.number("rabbit_quorum_max_memory_bytes")?,
        );
        let quorum = self.flag("rabbit_quorum_queue")?.then_some(limits);
        let mirrored = self.flag("rabbit_ha_queues")?;
        if mirrored && quorum.is_some() {
            return wrong(
                RABBIT,
                "rabbit_quorum_queue",
                "queues are mirrored (rabbit_ha_queues) or quorums, not both",
            );
        }
        Ok(Broker {
            hosts,
            vhost,
            shuffle: self.text("kombu_failover_strategy")?.as_deref() == Some("shuffle"),
            login: match self.text("rabbit_login_method")?.as_deref() {
                Some("EXTERNAL") => Login::External,
                Some("PLAIN") => Login::Plain,
                _ => Login::AmqPlain,
            },
            heartbeat: self.seconds("heartbeat_timeout_threshold")?,
            pause: (
                self.seconds("rabbit_retry_interval")?.max(Duration::from_secs(1)),
                self.seconds("rabbit_retry_backoff")?,
                self.seconds("rabbit_interval_max")?.max(Duration::from_secs(1)),
            ),
            tls,
            queues: Queues {
                // A quorum is always durable.
                durable: self.flag("amqp_durable_queues")? || quorum.is_some(),
                auto_delete: self.flag("amqp_auto_delete")?,
                mirrored,
                quorum,
            },
            query: self.query.to_vec(),
        })
    }
}

impl Reader<'_> {
    /// Drivers that there are nowhere go to `unknown`.
    pub(super) fn messaging(&self, unknown: &mut Vec<String>) -> Result<Messaging> {
        let mut drivers = Vec::new();
        for name in self.ini.values(NOTIFICATIONS, "driver") {
            let driver = match name.as_str() {
                "messagingv2" => Driver::Messaging,
                "messaging" => Driver::Bare,
                "log" => Driver::Log,
                "noop" | "test" => continue,
                other => {
                    unknown.push(format!("[{NOTIFICATIONS}] driver, {other}"));
                    continue;
                }
            };
            if !drivers.contains(&driver) {
                drivers.push(driver);
            }
        }
        let needs_broker = drivers.iter().any(|driver| *driver != Driver::Log);
        let (broker, other_transport) = if needs_broker {
            self.broker()?
        } else {
            // What is there must be right, used or not.
            BrokerOptions { reader: self, query: &[] }.broker(Vec::new(), String::new())?;
            (None, None)
        };
        let opt_out = "notification_opt_out";
        Ok(Messaging {
            drivers,
            format: match self.text("DEFAULT", "notification_format")?.as_deref() {
                Some("basic") => Format::Basic,
                _ => Format::Cadf,
            },
            // Whoever sets it empty wants all.
            opt_out: match self.ini.source("DEFAULT", opt_out) {
                Some(_) => self.ini.values("DEFAULT", opt_out),
                None => self.list("DEFAULT", opt_out)?,
            },
            publisher: self.text("DEFAULT", "default_publisher_id")?,
            exchange: self.text("DEFAULT", "control_exchange")?.unwrap_or_default(),
            topics: self.list(NOTIFICATIONS, "topics")?,
            retry: u32::try_from(self.number(NOTIFICATIONS, "retry")?).ok(),
            waiting: self.size::<usize>("vicar", "max_waiting_notifications")?.max(1),
            broker,
            other_transport,
        })
    }

    fn broker(&self) -> Result<(Option<Broker>, Option<String>)> {
        let of = match self.text(NOTIFICATIONS, "transport_url")? {
            Some(url) => (NOTIFICATIONS, url),
            None => ("DEFAULT", self.text("DEFAULT", "transport_url")?.unwrap_or_default()),
        };
        let url = TransportUrl::parse(&of.1).or_else(|what| wrong(of.0, "transport_url", what))?;
        if !matches!(url.scheme, "rabbit" | "kombu") {
            return Ok((None, Some(url.scheme.to_owned())));
        }
        let options = BrokerOptions { reader: self, query: &url.query };
        Ok((Some(options.broker(url.hosts, url.vhost)?), None))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> std::result::Result<Messaging, String> {
        Config::from_text(text, Path::new("/d")).map(|c| c.messaging).map_err(|e| e.0)
    }

    fn broker(url: &str) -> std::result::Result<Broker, String> {
        let read =
            read(&format!("transport_url = {url}\n[oslo_messaging_notifications]\ndriver = messagingv2\n"))?;
        Ok(read.broker.expect("a broker"))
    }

    fn shown(host: &Host) -> String {
        format!("{}:{}@{} {}", host.user, host.password.0, host.name, host.port)
    }

    #[test]
    fn urls_as_oslo_writes_them() {
        for (url, hosts, vhost) in [
            ("rabbit://", &["guest:guest@localhost 5672"][..], "/"),
            ("rabbit://h", &["guest:guest@h 5672"], "/"),
            ("rabbit://u:p@h:5671", &["u:p@h 5671"], "/"),
            ("rabbit://u:p@h:1,v:q@i:2/keystone", &["u:p@h 1", "v:q@i 2"], "keystone"),
            ("rabbit://u:p@h:1//", &["u:p@h 1"], "/"),
            ("rabbit://u:p@h/%2Fa%20b", &["u:p@h 5672"], "/a b"),
            ("rabbit://u%40x:p%3A%2F%2C@h/", &["u@x:p:/,@h 5672"], "/"),
            ("rabbit://u:p@[2001:db8::1]:5,u:p@[::1]/", &["u:p@2001:db8::1 5", "u:p@::1 5672"], "/"),
            ("rabbit://u:a@b@h:1/", &["u:a@b@h 1"], "/"),
            ("kombu://u:p@h/?ssl=1", &["u:p@h 5672"], "/"),
        ] {
            let read = broker(url).expect(url);
            assert_eq!(read.hosts.iter().map(shown).collect::<Vec<_>>(), hosts, "{url}");
            assert_eq!(read.vhost, vhost, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_it() {
        for url in [
            "u:topsecret@h",
            "rabbit://u:topsecret@h:port/",
            "rabbit://u:topsecret@[::1/",
            "rabbit://u:topsecret@h/?ssl=topsecret",
        ] {
            let e = broker(url).expect_err(url);
            assert!(e.contains("transport_url: ") && !e.contains("topsecret"), "{e}");
        }
        let shown = format!("{:?}", broker("rabbit://u:topsecret@h:1/").expect("reads"));
        assert!(!shown.contains("topsecret"), "{shown}");
        // Where nothing is sent there, it may be anything.
        read("transport_url = what\n").expect("reads");
    }

    #[test]
    fn the_query_counts_before_the_section() {
        let read = |query: &str| {
            read(&format!(
                "[oslo_messaging_notifications]\ndriver = messaging\ntransport_url = rabbit://h/{query}\n\
                 [oslo_messaging_rabbit]\nssl = true\nssl_ca_file = /ca\nheartbeat_timeout_threshold = 7\n\
                 amqp_durable_queues = true\n"
            ))
            .expect("reads")
            .broker
            .expect("a broker")
        };
        let plain = read("");
        assert_eq!(plain.tls.expect("TLS").ca.as_deref(), Some(Path::new("/ca")));
        assert_eq!(read("?ssl_ca_file=").tls.expect("TLS").ca, None);
        assert_eq!(plain.heartbeat, Duration::from_secs(7));
        assert!(plain.queues.durable);
        let other =
            read("?ssl=0&heartbeat_timeout_threshold=0&amqp_durable_queues=no&rabbit_quorum_queue=yes");
        assert_eq!((other.tls, other.heartbeat), (None, Duration::ZERO));
        assert_eq!(other.queues.quorum, Some((0, 0, 0)));
        assert!(other.queues.durable, "a quorum is");
    }

    #[test]
    fn drivers_and_defaults() {
        let shipped = read("").expect("reads");
        assert!(shipped.drivers.is_empty() && shipped.broker.is_none());
        assert_eq!(shipped.opt_out, ["identity.authenticate.success", "identity.authenticate.pending"]);
        assert_eq!((shipped.format, shipped.retry), (Format::Cadf, None));
        assert_eq!(
            (shipped.exchange.as_str(), shipped.topics.join(" ")),
            ("keystone", "notifications".into())
        );
        let several = read(
            "[oslo_messaging_notifications]\ndriver = log\ndriver = messagingv2\ndriver = noop\nretry = 2\n",
        );
        let several = several.expect("reads");
        assert_eq!(several.drivers, [Driver::Log, Driver::Messaging]);
        assert_eq!(several.retry, Some(2));
        assert!(read("notification_opt_out =\n").expect("reads").opt_out.is_empty());
        let named = read("notification_opt_out = identity.a.b\nnotification_opt_out = identity.c.d\n");
        assert_eq!(named.expect("reads").opt_out, ["identity.a.b", "identity.c.d"]);
        assert!(read("notification_format = odd\n").is_err());
    }

    #[test]
    fn other_transports_and_drivers_are_said() {
        let text = "transport_url = kafka://u:p@h/\n[oslo_messaging_notifications]\ndriver = messagingv2\ndriver = routing\n";
        let config = Config::from_text(text, Path::new("/d")).expect("reads");
        assert_eq!(config.unknown, ["[oslo_messaging_notifications] driver, routing"]);
        assert_eq!(config.messaging.other_transport.as_deref(), Some("kafka"));
        assert!(config.messaging.broker.is_none());
    }
}
