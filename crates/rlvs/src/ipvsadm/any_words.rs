//! Any words are an action or a complaint, and a service or real server that they make is saved as words that make
//! the same. `cargo xtask fuzz` tries more of them.

use proptest::prelude::*;

use super::action::Action;
use super::address::Namer;
use super::connections;
use super::parse::parse;
use super::save;

/// Words that options are made of, values for them, and others.
const WORDS: &[&str] = &[
    "-A",
    "-E",
    "-D",
    "-a",
    "-e",
    "-d",
    "-L",
    "-S",
    "-Z",
    "-C",
    "-R",
    "--set",
    "--start-daemon",
    "--stop-daemon",
    "-t",
    "-u",
    "-f",
    "--sctp-service",
    "-r",
    "-s",
    "-p",
    "-M",
    "-o",
    "--pe",
    "-b",
    "-m",
    "-g",
    "-i",
    "-w",
    "-x",
    "-y",
    "-6",
    "-n",
    "-c",
    "--stats",
    "--rate",
    "--exact",
    "--tun-type",
    "--tun-port",
    "--tun-csum",
    "--tun-nocsum",
    "--mcast-interface",
    "--syncid",
    "--mcast-group",
    "--mcast-port",
    "--mcast-ttl",
    "--sync-maxlen",
    "--persistent=7",
    "--",
    "-",
    "-At",
    "-Lnt",
    "10.0.0.1:80",
    "[2001:db8::1]:80",
    "2001:db8::1",
    "10.0.0.1",
    "10.1:0x50",
    "0",
    "1",
    "-1",
    "65535",
    "65536",
    "4294967296",
    "rr",
    "sh",
    "mh",
    "sh-port,flag-3",
    "mh-fallback",
    "255.255.255.0",
    "64",
    "sip",
    "gue",
    "gre",
    "ipip",
    "master",
    "backup",
    "eth0",
    "ff02::1",
    "224.0.0.9",
    "",
    "x",
    "\u{fc}",
];

/// The beginnings of lines that are right.
const LINES: &[&str] = &[
    "-A -t 10.0.0.1:80",
    "-A -u [2001:db8::1]:53 -s wrr",
    "-A -f 7 -6 -s mh",
    "-E -t 10.0.0.1:80 -p",
    "-a -t 10.0.0.1:80 -r 10.0.0.2",
    "-e -f 7 -r [2001:db8::2]:0 -i --tun-type gue --tun-port 99",
    "-d -f 7 -r 10.0.0.2",
    "-L -n",
    "--set 1 2 3",
    "--start-daemon master --mcast-interface eth0",
    "",
];

/// Without blanks: a saved line is taken apart at them, and no name that the director knows has one.
fn words() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![9 => prop::sample::select(WORDS).prop_map(String::from), 1 => "\\S{0,20}"];
    (prop::sample::select(LINES), prop::collection::vec(word, 0..8))
        .prop_map(|(line, more)| line.split_whitespace().map(String::from).chain(more).collect())
}

proptest! {
    #[test]
    fn any_words_are_an_action_or_a_complaint(words in words()) {
        let Ok(action) = parse("ipvsadm", &words) else { return Ok(()) };
        let mut namer = Namer::new(true);
        let saved = match &action {
            Action::AddService(service) => save::service(service, &mut namer),
            Action::AddServer(service, server) => save::destination(service, server, &mut namer),
            _ => return Ok(()),
        };
        let again: Vec<String> = saved.split_whitespace().map(String::from).collect();
        let again = match parse("ipvsadm", &again) {
            Ok(Action::AddService(service)) => save::service(&service, &mut namer),
            Ok(Action::AddServer(service, server)) => save::destination(&service, &server, &mut namer),
            _ => String::new(),
        };
        prop_assert_eq!(again, saved);
    }

    #[test]
    fn any_line_of_the_kernels_connections_is_a_row_or_none(
        words in prop::collection::vec(
            prop_oneof!["TCP|UDP|SCTP|IP|FWM", "[0-9A-Fa-f]{1,9}", "[0-9]{1,20}", "([0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}", ".{0,8}"],
            0..14,
        ),
        engine: bool,
    ) {
        let _row = connections::row(&words.join(" "), engine, &mut Namer::new(true));
    }
}
