use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::Config;

/// A service of servers 10.0.0.1 and on, a TCP check each, with more keys.
fn service(servers: u8, keys: &str, server_keys: &str) -> Service {
    let mut text = format!("[[service]]\ntcp = \"192.0.2.1:80\"\ncheck = {{ type = \"tcp\" }}\n{keys}\n");
    for last in 1..=servers {
        text.push_str(&format!("[[service.server]]\naddress = \"10.0.0.{last}\"\n{server_keys}\n"));
    }
    Config::parse(&text, Path::new("test")).unwrap().services.remove(0)
}

fn now() -> Instant {
    Instant::now()
}

fn id(last: u8) -> DestinationId {
    DestinationId { address: [10, 0, 0, last].into(), port: 80 }
}

fn up(pool: &mut Pool, last: u8) -> Vec<Event> {
    let check = pool.service().servers[usize::from(last) - 1].checks[0].clone();
    pool.judge(id(last), &check, Ok(None), now())
}

fn down(pool: &mut Pool, last: u8) -> Vec<Event> {
    let check = pool.service().servers[usize::from(last) - 1].checks[0].clone();
    pool.judge(id(last), &check, Err("refused".into()), now())
}

/// Last octets of the addresses and weights.
fn wanted(pool: &Pool) -> Vec<(u8, i32)> {
    let last = |address| match address {
        std::net::IpAddr::V4(address) => address.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    pool.wanted().iter().map(|destination| (last(destination.id.address), destination.weight)).collect()
}

#[test]
fn a_server_serves_when_a_check_has_found_it_good() {
    let mut pool = Pool::new(service(2, "", ""), &[], now());
    assert_eq!(wanted(&pool), []);
    assert_eq!(up(&mut pool, 2), [Event::Up(id(2)), Event::Quorum(1)]);
    assert_eq!(wanted(&pool), [(2, 1)]);
    assert_eq!(down(&mut pool, 1), [Event::Down(id(1), "refused".into())]);
    assert_eq!(up(&mut pool, 1), [Event::Up(id(1))]);
    assert_eq!(wanted(&pool), [(1, 1), (2, 1)]);
}

#[test]
fn servers_that_serve_already_go_on_until_a_check_fails() {
    let running = [Destination::new(id(1)), Destination { weight: 0, ..Destination::new(id(2)) }];
    let mut pool = Pool::new(service(2, "", ""), &running, now());
    assert_eq!(wanted(&pool), [(1, 1)]);
    assert_eq!(up(&mut pool, 1), []);
    assert_eq!(down(&mut pool, 1), [Event::Down(id(1), "refused".into()), Event::NoQuorum(0)]);
    assert_eq!(wanted(&pool), []);
}

#[test]
fn the_file_may_say_what_is_presumed() {
    assert_eq!(wanted(&Pool::new(service(1, "start = \"up\"", ""), &[], now())), [(1, 1)]);
    assert_eq!(wanted(&Pool::new(service(1, "start = \"down\"", ""), &[Destination::new(id(1))], now())), []);
}

#[test]
fn a_server_without_checks_always_serves() {
    let unchecked = Service {
        servers: service(1, "", "").servers.into_iter().map(|s| Server { checks: vec![], ..s }).collect(),
        ..service(1, "", "")
    };
    assert_eq!(wanted(&Pool::new(unchecked, &[], now())), [(1, 1)]);
}

#[test]
fn a_quiesced_server_stays_with_weight_0() {
    let mut pool = Pool::new(service(1, "when_down = \"quiesce\"", "weight = 5"), &[], now());
    assert_eq!(wanted(&pool), [(1, 0)]);
    up(&mut pool, 1);
    assert_eq!(wanted(&pool), [(1, 5)]);
    down(&mut pool, 1);
    assert_eq!(wanted(&pool), [(1, 0)]);
}

#[test]
fn all_checks_of_a_server_must_succeed() {
    let mut pool = Pool::new(service(1, "", "check = [{ type = \"tcp\" }, { type = \"ping\" }]"), &[], now());
    assert_eq!(up(&mut pool, 1), []);
    let ping = pool.service().servers[0].checks[1].clone();
    assert_eq!(pool.judge(id(1), &ping, Ok(None), now()), [Event::Up(id(1)), Event::Quorum(1)]);
    let events = pool.judge(id(1), &ping, Err("no route".into()), now());
    assert_eq!(events, [Event::Down(id(1), "no route".into()), Event::NoQuorum(0)]);
}

#[test]
fn a_check_may_set_the_weight() {
    let mut pool = Pool::new(service(1, "start = \"up\"", ""), &[], now());
    let check = pool.service().servers[0].checks[0].clone();
    assert_eq!(pool.judge(id(1), &check, Ok(Some(10)), now()), [Event::Weight(id(1), 10)]);
    assert_eq!(wanted(&pool), [(1, 10)]);
    assert_eq!(pool.judge(id(1), &check, Ok(None), now()), [Event::Weight(id(1), 1)]);
    assert_eq!(wanted(&pool), [(1, 1)]);
}

#[test]
fn quorum_is_gained_above_and_lost_below_by_the_hysteresis() {
    let mut pool = Pool::new(service(5, "quorum = 3\nhysteresis = 1", ""), &[], now());
    let found: Vec<_> = (1..=5).flat_map(|last| up(&mut pool, last)).filter(is_quorum).collect();
    assert_eq!(found, [Event::Quorum(4)]);
    let lost: Vec<_> = (1..=5).flat_map(|last| down(&mut pool, last)).filter(is_quorum).collect();
    assert_eq!(lost, [Event::NoQuorum(1)]);
    let again: Vec<_> = (1..=4).flat_map(|last| up(&mut pool, last)).filter(is_quorum).collect();
    assert_eq!(again, [Event::Quorum(4)]);
}

fn is_quorum(event: &Event) -> bool {
    matches!(event, Event::Quorum(_) | Event::NoQuorum(_))
}

#[test]
fn without_a_quorum_the_sorry_server_serves_alone() {
    let sorry = "quorum = 2\nsorry_server = { address = \"10.0.0.99\" }";
    let mut pool = Pool::new(service(3, sorry, ""), &[], now());
    assert_eq!(wanted(&pool), [], "nobody knows yet");
    up(&mut pool, 1);
    down(&mut pool, 2);
    assert_eq!(wanted(&pool), [(1, 1)]);
    assert_eq!(down(&mut pool, 3).pop(), Some(Event::NoQuorum(1)));
    assert_eq!(wanted(&pool), [(99, 1)]);
    assert_eq!(up(&mut pool, 3).pop(), Some(Event::Quorum(2)));
    assert_eq!(wanted(&pool), [(1, 1), (3, 1)]);
}

#[test]
fn a_sorry_server_leaves_quiesced_ones_in_their_place() {
    let keys = "when_down = \"quiesce\"\nsorry_server = { address = \"10.0.0.99\" }";
    let mut pool = Pool::new(service(1, keys, ""), &[Destination::new(id(1))], now());
    assert_eq!(wanted(&pool), [(1, 1)]);
    down(&mut pool, 1);
    assert_eq!(wanted(&pool), [(1, 0), (99, 1)]);
}

#[test]
fn a_reload_keeps_what_is_known() {
    let mut pool = Pool::new(service(2, "", ""), &[], now());
    up(&mut pool, 1);
    down(&mut pool, 2);
    let same = pool.reconfigured(service(2, "", ""), now());
    assert_eq!(wanted(&same), [(1, 1)]);
    // A new weight, a new server that nobody knows, another check of one that is up.
    let heavier = pool.reconfigured(service(3, "", "weight = 7\ncheck = { type = \"ping\" }"), now());
    assert_eq!(wanted(&heavier), [(1, 7)]);
    let fewer = pool.reconfigured(service(0, "", ""), now());
    assert_eq!(wanted(&fewer), []);
}

#[test]
fn verdicts_about_what_is_no_more_change_nothing() {
    let mut pool = Pool::new(service(1, "", ""), &[], now());
    let ping = service(1, "", "check = { type = \"ping\" }").servers[0].checks[0].clone();
    assert_eq!(pool.judge(id(1), &ping, Ok(None), now()), []);
    assert_eq!(pool.judge(id(9), &ping, Ok(None), now()), []);
    assert_eq!(wanted(&pool), []);
}

/// A verdict at a time.
fn verdict(pool: &mut Pool, last: u8, good: bool, at: Instant) {
    let check = pool.service().servers[usize::from(last) - 1].checks[0].clone();
    pool.judge(id(last), &check, if good { Ok(None) } else { Err("refused".into()) }, at);
}

#[test]
fn a_server_that_returns_gets_its_weight_step_by_step() {
    let (start, second) = (now(), Duration::from_secs(1));
    let mut pool = Pool::new(service(1, "slow_start = \"100s\"", "weight = 32"), &[], start);
    verdict(&mut pool, 1, true, start);
    assert_eq!(wanted(&pool), [(1, 32)], "at the start there is nothing to be spared");
    verdict(&mut pool, 1, false, start);
    verdict(&mut pool, 1, true, start);
    assert_eq!(pool.live(), 32, "for the quorum it is there");
    let mut weights = vec![wanted(&pool)[0].1];
    for seconds in [19, 20, 40, 60, 80, 99, 100] {
        pool.advance(start + seconds * second);
        weights.push(wanted(&pool)[0].1);
    }
    assert_eq!(weights, [1, 1, 2, 4, 8, 16, 16, 32]);
    assert_eq!(pool.deadline(), None);
    // It falls in the midst of a rise, and the next one begins from below; what is late is made up for.
    verdict(&mut pool, 1, false, start);
    verdict(&mut pool, 1, true, start);
    pool.advance(start + 40 * second);
    verdict(&mut pool, 1, false, start + 41 * second);
    assert_eq!((wanted(&pool), pool.deadline()), (vec![], None));
    verdict(&mut pool, 1, true, start + 50 * second);
    assert_eq!((wanted(&pool), pool.deadline()), (vec![(1, 1)], Some(start + 70 * second)));
}

#[test]
fn a_server_that_is_new_among_others_gets_its_weight_step_by_step() {
    let keys = "slow_start = \"10s\"";
    let mut pool = Pool::new(service(1, keys, "weight = 5"), &[], now());
    up(&mut pool, 1);
    let mut more = pool.reconfigured(service(2, keys, "weight = 5"), now());
    up(&mut more, 2);
    assert_eq!(wanted(&more), [(1, 5), (2, 1)]);
}

#[test]
fn a_server_that_is_down_keeps_its_connections_for_a_while() {
    let (start, second) = (now(), Duration::from_secs(1));
    let keys = "when_down = \"drain\"\ndrain = \"60s\"";
    let mut pool = Pool::new(service(2, keys, "weight = 3"), &[], start);
    for last in 1..=2 {
        verdict(&mut pool, last, true, start);
    }
    verdict(&mut pool, 1, false, start);
    assert_eq!(wanted(&pool), [(2, 3), (1, 0)]);
    // It is up again.
    verdict(&mut pool, 1, true, start);
    assert_eq!(wanted(&pool), [(1, 3), (2, 3)]);
    // Its last connection ends.
    verdict(&mut pool, 1, false, start);
    assert_eq!(pool.leaving().collect::<Vec<_>>(), [id(1)]);
    pool.release(id(1));
    assert_eq!(wanted(&pool), [(2, 3)]);
    // Its time is over. A reload in between is no reason to hurry.
    verdict(&mut pool, 2, false, start);
    let mut pool = pool.reconfigured(service(2, keys, "weight = 3"), start);
    pool.advance(start + 59 * second);
    assert_eq!((wanted(&pool), pool.deadline()), (vec![(2, 0)], Some(start + 60 * second)));
    pool.advance(start + 60 * second);
    assert_eq!(wanted(&pool), []);
}

#[test]
fn only_a_server_that_a_check_found_down_takes_its_connections_with_it() {
    for (word, ending) in [("remove", None), ("reset", Some(Ending::Reset)), ("move", Some(Ending::Move))] {
        let keys =
            format!("when_down = \"{word}\"\nquorum = 2\nsorry_server = {{ address = \"10.0.0.99\" }}");
        let mut pool = Pool::new(service(2, &keys, ""), &[Destination::new(id(1))], now());
        assert_eq!([1, 2, 3].map(|last| pool.ending(id(last))), [None; 3]);
        up(&mut pool, 1);
        up(&mut pool, 2);
        down(&mut pool, 2);
        assert_eq!(wanted(&pool), [(99, 1)]);
        assert_eq!([1, 2].map(|last| pool.ending(id(last))), [None, ending]);
        up(&mut pool, 2);
        assert_eq!(pool.ending(id(2)), None);
    }
}

#[test]
fn a_server_that_leaves_the_file_keeps_its_connections_for_a_while() {
    let start = now();
    let mut pool = Pool::new(service(2, "drain = \"60s\"", ""), &[], start);
    for last in 1..=2 {
        verdict(&mut pool, last, true, start);
    }
    let mut fewer = pool.reconfigured(service(1, "", ""), start);
    assert_eq!(wanted(&fewer), [(1, 1), (2, 0)]);
    // And once more, without a change.
    fewer = fewer.reconfigured(service(1, "", ""), start);
    assert_eq!(wanted(&fewer), [(1, 1), (2, 0)]);
    // It comes back before that: as one that nobody knows.
    let back = fewer.reconfigured(service(2, "", ""), start);
    assert_eq!(wanted(&back), [(1, 1)]);
    fewer.release(id(2));
    assert_eq!(wanted(&fewer), [(1, 1)]);
}
