//! The way to a RabbitMQ: one connection, made anew when it is lost, and messages that the broker confirms.
//!
//! Exchange, queue and properties are those of oslo.messaging's publisher, so that its listeners find what they
//! declare themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::tcp::RustlsConnector;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use lapin::{AsyncTcpStream, BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::mpsc;

use crate::config::messaging::{Broker, Host, Login, Messaging, Queues};
use crate::ids;
use crate::metrics::NotificationCounters;
use crate::remote;

/// The bodies of one notification, one for each driver that sends it.
pub type Message = Vec<Vec<u8>>;

/// How many are sent before their confirmations are waited for.
const BATCH: usize = 64;

/// How long a host may take to connect, and to declare.
const CONNECTING: Duration = Duration::from_secs(10);

/// How long a broker may take to confirm a batch. One that has too little memory or disk never does.
const CONFIRMING: Duration = Duration::from_secs(30);

/// How often it is looked whether a connection that has nothing to do is still there.
const LOOK: Duration = Duration::from_secs(1);

/// The way to the broker.
pub struct Link {
    broker: Broker,
    tls: Option<RustlsConnector>,
    exchange: String,
    topics: Vec<String>,
    retry: Option<u32>,
    counters: NotificationCounters,
    /// The host that is tried next.
    next: usize,
}

/// A connection.
struct Connected {
    // Ends with it.
    connection: Connection,
    channel: Channel,
    declared: BTreeSet<String>,
    host: String,
}

type Result<T> = std::result::Result<T, String>;

fn said(e: lapin::Error) -> String {
    e.to_string()
}

/// What is done within a time.
async fn within<T>(time: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err("it did not answer in time".to_owned()))
}

impl Link {
    /// The way to a broker. Nothing is connected yet.
    ///
    /// # Errors
    /// In words for the operator, when a certificate cannot be used.
    pub fn new(broker: &Broker, messaging: &Messaging, counters: NotificationCounters) -> Result<Self> {
        let tls = match &broker.tls {
            Some(files) => {
                let names = "[oslo_messaging_rabbit] ssl_cert_file and ssl_key_file";
                let (ca, certificate) = (files.ca.as_deref(), files.certificate.as_deref());
                // Both may be in one file.
                let key = files.key.as_deref().or(certificate);
                Some(RustlsConnector::from(Arc::new(remote::tls(ca, (certificate, key), names)?)))
            }
            None => None,
        };
        let next = if broker.shuffle || broker.hosts.len() > 1 { first(broker.hosts.len()) } else { 0 };
        Ok(Self {
            broker: broker.clone(),
            tls,
            exchange: messaging.exchange.clone(),
            topics: messaging.topics.clone(),
            retry: messaging.retry,
            counters,
            next,
        })
    }

    /// Sends messages until there are no more to come.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch: Vec<Message> = Vec::with_capacity(BATCH);
        let mut tries = 0_u32;
        let mut pause = self.broker.pause.0;
        let mut is_away = false;
        let mut connected: Option<Connected> = None;
        loop {
            let Some(link) = connected.as_mut().filter(|link| link.is_there()) else {
                connected = None;
                self.counters.connected.set(0);
                if batch.is_empty() && messages.is_closed() && messages.is_empty() {
                    return;
                }
                match self.connect().await {
                    Ok(link) => {
                        tracing::info!(broker = link.host, "connected to the broker of notifications");
                        self.counters.connected.set(1);
                        (connected, is_away, pause) = (Some(link), false, self.broker.pause.0);
                    }
                    Err(why) => {
                        if !std::mem::replace(&mut is_away, true) {
                            tracing::warn!(
                                why,
                                "no broker for notifications; they wait, and are dropped when too many do"
                            );
                        }
                        if self.retry.is_some() {
                            self.give_up(&mut messages, &mut batch, &mut tries);
                        }
                        tokio::time::sleep(pause).await;
                        pause = (pause + self.broker.pause.1).min(self.broker.pause.2);
                    }
                }
                continue;
            };
            if batch.is_empty() {
                tries = 0;
                match tokio::time::timeout(LOOK, messages.recv_many(&mut batch, BATCH)).await {
                    Ok(0) => break,
                    // Nothing to do: it is looked whether the connection is there.
                    Err(_) => continue,
                    Ok(_) => {}
                }
            }
            match within(CONFIRMING, link.send(&self.broker.queues, &self.exchange, &self.topics, &batch))
                .await
            {
                Ok(()) => {
                    self.counters.sent.inc_by(batch.len() as u64);
                    self.counters.waiting.dec_by(count(&batch));
                    batch.clear();
                }
                Err(why) => {
                    tracing::warn!(why, broker = link.host, "the broker did not take notifications");
                    connected = None;
                    is_away = true;
                    if self.retry.is_some() {
                        self.give_up(&mut messages, &mut batch, &mut tries);
                    }
                }
            }
        }
        self.counters.connected.set(0);
        if let Some(link) = connected {
            let _ = tokio::time::timeout(LOOK, link.connection.close(200, "bye".into())).await;
        }
    }

    /// One more attempt has failed for what waits here. It is dropped after so many as are configured.
    fn give_up(&self, messages: &mut mpsc::Receiver<Message>, batch: &mut Vec<Message>, tries: &mut u32) {
        while batch.len() < BATCH
            && let Ok(message) = messages.try_recv()
        {
            batch.push(message);
        }
        if batch.is_empty() {
            return;
        }
        if self.retry.is_some_and(|retry| *tries >= retry) {
            tracing::warn!(dropped = batch.len(), "notifications are dropped, as they could not be sent");
            self.counters.dropped.inc_by(batch.len() as u64);
            self.counters.waiting.dec_by(count(batch));
            batch.clear();
            *tries = 0;
        } else {
            *tries += 1;
        }
    }

    /// Connects to the first host that can be reached, each tried once.
    async fn connect(&mut self) -> Result<Connected> {
        let hosts = self.broker.hosts.clone();
        let mut why = Vec::new();
        for _ in 0..hosts.len() {
            let Some(host) = hosts.get(self.next % hosts.len()) else { break };
            self.next = (self.next + 1) % hosts.len();
            match within(CONNECTING, self.connect_to(host)).await {
                Ok(connected) => return Ok(connected),
                Err(e) => why.push(format!("{}:{}: {e}", host.name, host.port)),
            }
        }
        Err(why.join("; "))
    }

    async fn connect_to(&self, host: &Host) -> Result<Connected> {
        let heartbeat = u16::try_from(self.broker.heartbeat.as_secs()).unwrap_or(u16::MAX);
        let uri = AMQPUri {
            scheme: if self.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: host.user.clone(), password: host.password.0.clone() },
                host: host.name.clone(),
                port: host.port,
            },
            vhost: self.broker.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(heartbeat),
                auth_mechanism: Some(match self.broker.login {
                    Login::Plain => SASLMechanism::Plain,
                    Login::AmqPlain => SASLMechanism::AMQPlain,
                    Login::External => SASLMechanism::External,
                }),
                ..AMQPQueryString::default()
            },
        };
        let tls = self.tls.clone();
        let name = format!("vicar:{}:{}", std::process::id(), ids::uuid());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime().map_err(said)?;
        let connection = Connection::connector(
            uri,
            runtime,
            async move |uri: AMQPUri, runtime| {
                let address = runtime.to_socket_addrs((uri.authority.host.clone(), uri.authority.port));
                let stream = AsyncTcpStream::connect(&runtime, address).await?;
                Ok(match &tls {
                    Some(connector) => stream.into_rustls(connector, &uri.authority.host).await?,
                    None => stream,
                })
            },
            properties,
        )
        .await
        .map_err(said)?;
        let channel = confirming(&connection).await?;
        Ok(Connected {
            connection,
            channel,
            declared: BTreeSet::new(),
            host: format!("{}:{}", host.name, host.port),
        })
    }
}

/// Where to begin among so many hosts. Servers spread over them.
fn first(hosts: usize) -> usize {
    usize::try_from(ids::below(hosts as u64)).unwrap_or(0)
}

fn count(batch: &[Message]) -> i64 {
    i64::try_from(batch.len()).unwrap_or(i64::MAX)
}

/// A channel on which the broker says what it has.
async fn confirming(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await.map_err(said)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(said)?;
    Ok(channel)
}

impl Connected {
    fn is_there(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Sends messages to each topic, and waits until the broker has them all.
    async fn send(
        &mut self,
        queues: &Queues,
        exchange: &str,
        topics: &[String],
        batch: &[Message],
    ) -> Result<()> {
        let mut confirmations = Vec::new();
        for topic in topics {
            let key = format!("{topic}.info");
            if !self.declared.contains(&key) {
                self.declare(queues, exchange, &key).await?;
                self.declared.insert(key.clone());
            }
            for body in batch.iter().flatten() {
                let properties = BasicProperties::default()
                    .with_content_type("application/json".into())
                    .with_content_encoding("utf-8".into())
                    .with_delivery_mode(2)
                    .with_priority(0);
                let confirmation = self
                    .channel
                    .basic_publish(
                        ShortString::from(exchange),
                        ShortString::from(key.as_str()),
                        BasicPublishOptions::default(),
                        body,
                        properties,
                    )
                    .await;
                confirmations.push(confirmation.map_err(said)?);
            }
        }
        for confirmation in confirmations {
            if !confirmation.await.map_err(said)?.is_ack() {
                return Err("it refused a message".to_owned());
            }
        }
        Ok(())
    }

    /// Declares exchange and queue, and binds them. What is there already and was declared otherwise is used as it
    /// is: whoever made it knows why.
    async fn declare(&mut self, queues: &Queues, exchange: &str, key: &str) -> Result<()> {
        let options = ExchangeDeclareOptions {
            durable: queues.durable,
            auto_delete: queues.auto_delete,
            ..ExchangeDeclareOptions::default()
        };
        let declared = self
            .channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default())
            .await;
        if let Err(e) = declared {
            self.after(&e, "exchange", exchange).await?;
            let passive = ExchangeDeclareOptions { passive: true, ..options };
            self.channel
                .exchange_declare(exchange.into(), ExchangeKind::Topic, passive, FieldTable::default())
                .await
                .map_err(said)?;
        }
        let options = QueueDeclareOptions {
            durable: queues.durable,
            auto_delete: queues.auto_delete,
            ..QueueDeclareOptions::default()
        };
        let declared = self.channel.queue_declare(key.into(), options, arguments(queues)).await;
        if let Err(e) = declared {
            self.after(&e, "queue", key).await?;
            let passive = QueueDeclareOptions { passive: true, ..options };
            self.channel.queue_declare(key.into(), passive, FieldTable::default()).await.map_err(said)?;
        }
        self.channel
            .queue_bind(
                key.into(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(said)
    }

    /// After a declaration that failed: the broker has closed the channel. Another one, if somebody has declared the
    /// same otherwise.
    async fn after(&mut self, e: &lapin::Error, what: &'static str, name: &str) -> Result<()> {
        let text = e.to_string();
        if !text.contains("PRECONDITION_FAILED") {
            return Err(text);
        }
        tracing::warn!(what, name, why = text, "declared otherwise by somebody else; it is used as it is");
        self.channel = confirming(&self.connection).await?;
        Ok(())
    }
}

/// A queue's arguments, as oslo.messaging has them.
fn arguments(queues: &Queues) -> FieldTable {
    let mut table = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    if queues.mirrored {
        table.insert("x-ha-policy".into(), text("all"));
    }
    if let Some((deliveries, length, bytes)) = queues.quorum {
        table.insert("x-queue-type".into(), text("quorum"));
        for (name, limit) in [
            ("x-delivery-limit", deliveries),
            ("x-max-in-memory-length", length),
            ("x-max-in-memory-bytes", bytes),
        ] {
            if limit > 0 {
                table.insert(name.into(), AMQPValue::LongLongInt(limit));
            }
        }
    }
    table
}
