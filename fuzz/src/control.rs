//! Messages of the control protocol: what a client may send to the director, and a director to a client.

use crate::random::Random;
use rlvs_ipvs::message::{Call, FamilyName, Request, decode, decode_item, encode};
use rlvs_ipvs::{Destination, DestinationId, Ending, MarkRule, Protocol, Service, ServiceId};
use std::net::{Ipv4Addr, Ipv6Addr};

const MESSAGES: usize = 300;

/// Bare and filled requests, spoilt; what can be read must be writable and read the same.
pub fn round(random: &mut Random) {
    let mut pool: Vec<Vec<u8>> =
        bare_requests().iter().map(|request| encode(request, request.family().id(), 1)).collect();
    for _ in 0..MESSAGES {
        let mut message = pool[random.below(pool.len())].clone();
        if random.once_in(3) {
            grow(random, &mut message);
        }
        random.spoil(&mut message);
        fit_length(random, &mut message);
        if let Some(Ok(Call::Request(request))) = decode(&message) {
            let again = encode(&request, request.family().id(), 1);
            assert!(matches!(decode(&again), Some(Ok(Call::Request(_)))), "{request:?} is not read again");
            if pool.len() < 200 {
                pool.push(message.clone());
            }
        }
        for request in bare_requests() {
            let _ = decode_item(&request, message.get(20..).unwrap_or_default());
        }
    }
}

/// One of each kind that needs no content, and some that do.
fn bare_requests() -> Vec<Request> {
    let service =
        ServiceId::Address { protocol: Protocol::TCP, address: Ipv4Addr::new(10, 0, 0, 1).into(), port: 80 };
    let destination = DestinationId { address: Ipv6Addr::LOCALHOST.into(), port: 80 };
    vec![
        Request::NewService(Service::new(service)),
        Request::GetService(service),
        Request::ListDestinations(service),
        Request::NewDestination(service, Ok(Destination::new(destination))),
        Request::DeleteDestination(service, Ok(destination)),
        Request::EndDestination(service, destination, Ending::Reset),
        Request::NewMarkRule { rule: MarkRule::default(), before: None },
        Request::ListMarkRules,
        Request::ListServices,
        Request::ListDaemons,
        Request::GetTimeouts,
        Request::GetInfo,
        Request::Flush,
        Request::ListConnections,
        Request::GetFacts,
        Request::ListSettings,
        Request::ListEvents,
        Request::TakeSamples,
        Request::GetTotals,
    ]
}

/// Another command, and attributes with attributes in them, as services and destinations have.
fn grow(random: &mut Random, message: &mut Vec<u8>) {
    if message.len() < 20 {
        return;
    }
    message[4..6].copy_from_slice(&random.of(&[FamilyName::Ipvs, FamilyName::Rlvs]).id().to_ne_bytes());
    message[6] = random.of(&[1, 5]);
    message[7] = random.of(&[0, 3]);
    message[16] = random.below(20) as u8;
    for _ in 0..random.below(3) {
        let mut content = Vec::new();
        for _ in 0..random.below(14) {
            let size = random.of(&[0, 1, 2, 4, 4, 8, 16, 16, 20]);
            let value: Vec<u8> = (0..size).map(|_| random.of(&[0, 1, 2, 6, 10, 17, 80, 255])).collect();
            attribute(&mut content, random.below(16) as u16, &value);
        }
        attribute(message, random.below(8) as u16, &content);
    }
}

fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend(((4 + value.len()) as u16).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Mostly the right length in the header, or little would get past it.
fn fit_length(random: &mut Random, message: &mut [u8]) {
    let length = message.len() as u32;
    if message.len() >= 4 && !random.once_in(10) {
        message[..4].copy_from_slice(&length.to_ne_bytes());
    }
}
