//! Requests at a steady pace, for the benchmark.
//!
//! `wrk` sends the next request when the last one is answered. Here one is due at each moment of a timetable, whether
//! the last one is answered or not, and its time counts from that moment: so a wait of the whole server is seen in all
//! requests that came due meanwhile.
//!
//! ```console
//! $ pace --connect 127.0.0.1:5000 --rate 1000 --seconds 5 < requests
//! ```
//!
//! `requests` are whole requests, each after its length as a number and a line break, sent in turn. The answer is one
//! object of JSON: `times`, the microseconds of each request from the moment at which it was due to the end of its answer,
//! and `late`, how many of them were the generator's own fault. One that is not answered in the end took as long as it waited.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::event::epoll;

#[derive(Debug, Parser)]
#[command(about = "Sends requests at a steady pace, whether or not earlier ones are answered")]
struct Options {
    /// The server
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: SocketAddr,
    /// Requests a second
    #[arg(long)]
    rate: f64,
    /// For how long
    #[arg(long)]
    seconds: f64,
    /// How many requests can be under way
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// What is answered; anything else ends it with an error
    #[arg(long, default_value_t = 200)]
    status: u16,
}

/// So long late answers are waited for.
const AFTERWARDS: Duration = Duration::from_secs(20);

/// Moments are kept to this.
const STEP: Duration = Duration::from_micros(50);

/// One that is kept, and what has arrived on it of an answer.
#[derive(Default)]
struct Connection {
    stream: Option<TcpStream>,
    got: Vec<u8>,
    due: Option<Instant>,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

impl Connection {
    fn send(&mut self, to: SocketAddr, request: &[u8], due: Instant) -> Outcome<()> {
        self.got.clear();
        self.due = Some(due);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(to)?;
                stream.set_nodelay(true)?;
                self.stream.insert(stream)
            }
        };
        Ok(stream.write_all(request)?)
    }

    /// Reads what has arrived, a part at a time; returns the status when the answer is whole.
    fn read(&mut self, part: &mut [u8]) -> Outcome<Option<u16>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let length = stream.read(part)?;
        let is_over = length == 0;
        self.got.extend(part.get(..length).unwrap_or_default());
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(begin) = head.parse(&self.got)? else {
            return if is_over { Err("a connection ended within an answer".into()) } else { Ok(None) };
        };
        let field = |name: &str| {
            let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok()
        };
        let body: usize = field("content-length").map_or(Ok(0), str::parse)?;
        if !is_over && self.got.len() < begin + body {
            return Ok(None);
        }
        let status = head.code;
        if is_over || field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = None;
        }
        Ok(status)
    }
}

/// Microseconds of each request, and how many of them were ours.
#[derive(Debug, Default)]
struct Figures {
    times: Vec<u64>,
    late: Vec<u64>,
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn paced(options: &Options, requests: &[Vec<u8>]) -> Outcome<Figures> {
    let total = (options.rate * options.seconds) as usize;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut all: Vec<Connection> = Vec::new();
    all.resize_with(options.connections, Connection::default);
    let mut free: Vec<usize> = (0..options.connections).collect();
    let mut queue = VecDeque::new();
    let mut figures = Figures::default();
    let begin = Instant::now();
    let at = |number: usize| begin + Duration::from_secs_f64(number as f64 / options.rate);
    let end = begin + Duration::from_secs_f64(options.seconds) + AFTERWARDS;
    let mut ready = Vec::with_capacity(options.connections);
    let mut in_turn = requests.iter().cycle();
    let mut part = vec![0; 1 << 14];
    while figures.times.len() < total {
        let now = Instant::now();
        if now > end {
            break;
        }
        while figures.late.len() < total && at(figures.late.len()) <= now {
            let due = at(figures.late.len());
            queue.push_back(due);
            figures.late.push(micros(now - due));
        }
        while !queue.is_empty()
            && let Some(number) = free.pop()
            && let (Some(one), Some(request)) = (all.get_mut(number), in_turn.next())
            && let Some(due) = queue.pop_front()
        {
            let is_new = one.stream.is_none();
            one.send(options.connect, request, due)?;
            if is_new && let Some(stream) = &one.stream {
                epoll::add(&poll, stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            }
        }
        ready.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), Some(&Default::default()))?;
        for event in &ready {
            let number = event.data.u64() as usize;
            let Some(one) = all.get_mut(number) else { continue };
            let Some(status) = one.read(&mut part)? else { continue };
            if status != options.status {
                return Err(format!("answered with {status}, not {}", options.status).into());
            }
            figures.times.extend(one.due.take().map(|due| micros(due.elapsed())));
            free.push(number);
        }
        if ready.is_empty() {
            let rest = at(figures.late.len()).saturating_duration_since(Instant::now());
            // Without an answer to wait for there is nothing before the next moment.
            std::thread::sleep(if free.len() == all.len() { rest } else { rest.min(STEP) });
        }
    }
    let waiting = all.iter().filter_map(|one| one.due).chain(queue);
    figures.times.extend(waiting.map(|due| micros(due.elapsed())));
    Ok(figures)
}

/// What comes on standard input.
fn requests() -> Outcome<Vec<Vec<u8>>> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let mut rest = text.as_slice();
    let mut all = Vec::new();
    while !rest.is_empty() {
        let mut parts = rest.splitn(2, |byte| *byte == b'\n');
        let length: usize = std::str::from_utf8(parts.next().unwrap_or_default())?.parse()?;
        let follows = parts.next().ok_or("a length without an end")?;
        let (request, more) = follows.split_at_checked(length).ok_or("a request is cut off")?;
        all.push(request.to_vec());
        rest = more;
    }
    if all.is_empty() { Err("no requests".into()) } else { Ok(all) }
}

fn main() -> Outcome<()> {
    let options = Options::parse();
    let Figures { times, late } = paced(&options, &requests()?)?;
    Ok(writeln!(std::io::stdout(), "{}", serde_json::json!({"times": times, "late": late}))?)
}
