//! Connections that end with their server, of clients that only wait: for a download to go on, say.
//!
//! The switch answers what a client sends by a reset (`switch/src/steps/end.rs`). A client that sends nothing is made to: it gets a
//! segment as from its server, with numbers that it cannot accept. It answers such a one by an acknowledgement that tells what it
//! does accept (RFC 9293, 3.10.7.4). One round of that is repeated, for packets get lost, and a client may come by way of another
//! director meanwhile.

use crate::connections::Address;
use crate::registry::Registry;
use crate::tables::Tables;
use rlvs_packet::checksum::sum_of;
use rlvs_packet::ipv4::Ipv4;
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;
use rlvs_packet::tcp::{ACK, Tcp};
use rlvs_switch::state::tcp;
use rlvs_switch::table::{Slot, V4, V6};
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;
use zerocopy::network_endian::U32;

/// Segments in a call of [`Endings::advance`], of which there are ten a second.
const AT_ONCE: usize = 1_000;
/// How long after a round the next one comes. Longer than the time in which a client answers only one such segment.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];
/// The same after these, as long as the destination has connections.
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// Has clients of servers that have failed say something.
pub(crate) struct Endings {
    tables: Arc<Tables>,
    /// By deleted destination: rounds done, and when the next one is due.
    rounds: HashMap<u32, (usize, Instant)>,
    /// Who is to get a segment: as from whom, and the number that it begins with.
    waiting: VecDeque<(SocketAddr, SocketAddr, u32)>,
    sockets: [Option<Socket>; 2],
}

impl Endings {
    pub(crate) fn new(tables: Arc<Tables>) -> Endings {
        let open = |domain| {
            let warn = |error: &io::Error| {
                tracing::warn!(
                    "clients of failed servers that only wait are not told: no raw socket: {error}"
                );
            };
            open(domain).inspect_err(warn).ok()
        };
        let sockets = [Domain::IPV4, Domain::IPV6].map(open);
        Endings { tables, rounds: HashMap::new(), waiting: VecDeque::new(), sockets }
    }

    /// Sends some segments; looks for those who are to get one when all have theirs. To be called ten times a second.
    pub(crate) fn advance(&mut self, registry: &Registry) {
        if self.waiting.is_empty() && !self.tables.settings().is_standby() {
            self.look(registry);
        }
        for _ in 0..AT_ONCE {
            let Some(&(from, to, number)) = self.waiting.front() else { return };
            match self.send(from, to, number) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => tracing::debug!(%to, %error, "a client of a failed server is not reached"),
                Ok(()) => {}
            }
            self.waiting.pop_front();
        }
    }

    /// Finds the connections of destinations whose round is due.
    fn look(&mut self, registry: &Registry) {
        let (ending, now): (HashSet<u32>, _) = (registry.ending().collect(), Instant::now());
        self.rounds.retain(|index, _| ending.contains(index));
        let mut due = HashMap::new();
        for index in ending {
            let (rounds, next) = self.rounds.entry(index).or_insert((0, now));
            if *next <= now {
                *next = now + PAUSES.get(*rounds).copied().unwrap_or(LAST_PAUSE);
                // If it lies within the client's window by chance, the next one does not.
                due.insert(index, (*rounds as u32) << 31);
                *rounds += 1;
            }
        }
        if due.is_empty() {
            return;
        }
        let tables = Arc::clone(&self.tables);
        let slots4 = tables.connections4.all().iter().flat_map(|bucket| &bucket.slots);
        self.waiting.extend(slots4.filter_map(|place| waiter::<V4>(place, &due)));
        let slots6 = tables.connections6.all().iter().flat_map(|bucket| &bucket.slots);
        self.waiting.extend(slots6.filter_map(|place| waiter::<V6>(place, &due)));
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, number: u32) -> io::Result<()> {
        let [four, six] = &self.sockets;
        let (packet, socket) = match (from.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let sum = sum_of(&source.octets()) + sum_of(&destination.octets());
                let ip = Ipv4::originated(
                    protocol::TCP,
                    Tcp::LENGTH as u16,
                    source.octets(),
                    destination.octets(),
                );
                let segment = segment(from.port(), to.port(), number, sum);
                ([ip.with_checksum().as_bytes(), segment.as_bytes()].concat(), four)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let sum = sum_of(&source.octets()) + sum_of(&destination.octets());
                let ip = Ipv6::originated(
                    protocol::TCP,
                    Tcp::LENGTH as u16,
                    source.octets(),
                    destination.octets(),
                );
                let segment = segment(from.port(), to.port(), number, sum);
                ([ip.as_bytes(), segment.as_bytes()].concat(), six)
            }
            // Connections have addresses of one family.
            _ => return Ok(()),
        };
        // Raw sockets take no port.
        let to = SockAddr::from(SocketAddr::new(to.ip(), 0));
        match socket {
            Some(socket) => socket.send_to(&packet, &to).map(drop),
            None => Ok(()),
        }
    }
}

/// A socket for packets with their IP header.
fn open(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(libc::IPPROTO_RAW.into()))?;
    socket.set_nonblocking(true)?;
    // Nothing is read from it.
    socket.set_recv_buffer_size(1)?;
    Ok(socket)
}

/// An acknowledgement without data, by numbers that belong to no connection; `addresses` is the sum of both.
fn segment(from: u16, to: u16, number: u32, addresses: u32) -> Tcp {
    let ports = [from.to_be_bytes(), to.to_be_bytes()];
    Tcp::bare(ports, U32::new(number), U32::new(number), ACK, addresses)
}

/// As from whom the connection's client gets a segment, if it is one of TCP that somebody may wait in, to a destination in `due`.
fn waiter<F: Address>(place: &Slot<F>, due: &HashMap<u32, u32>) -> Option<(SocketAddr, SocketAddr, u32)> {
    let meta = place.meta();
    if !meta.is_live() || meta.is_reply() || meta.is_template() {
        return None;
    }
    let (destination, _) = place.destination_and_peer(meta)?;
    let half = due.get(&destination)?;
    let tuple = place.tuple(meta)?;
    let waits = matches!(meta.state(), tcp::ESTABLISHED | tcp::FIN_WAIT | tcp::CLOSE_WAIT);
    if tuple.protocol != protocol::TCP || !waits {
        return None;
    }
    let [client, service] = tuple.ports.map(u16::from_be_bytes);
    let from = SocketAddr::new(F::ip(tuple.destination), service);
    Some((from, SocketAddr::new(F::ip(tuple.source), client), *half))
}
