//! The checkers of a real server.

use std::fmt::Write;
use std::time::Duration;

use super::context::Context;
use super::script;
use super::tree::Statement;
use crate::import::value::Table;

const SOURCE: &str = "checks leave by the address that the route says";
const UNTRANSLATED: [(&str, &str); 7] = [
    ("bindto", SOURCE),
    ("bind_if", SOURCE),
    ("bind_port", SOURCE),
    ("fwmark", SOURCE),
    ("http_protocol", "requests are HTTP/1.1"),
    ("user", "programs run as the user of `rlvs cluster`; let the program be setpriv or runuser"),
    ("tls_compliant", "TLS is always spoken as the standard has it"),
];
/// What changes nothing that we do.
const WITHOUT_EFFECT: [&str; 3] = ["warmup", "log_all_failures", "fast_recovery"];

/// Shortest time that our file takes.
const SHORTEST: Duration = Duration::from_millis(50);

/// When checks are made: what a virtual server, a real server and a checker may all say, each instead of the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timing {
    delay_loop: Option<Duration>,
    connect_timeout: Option<Duration>,
    retry: Option<u32>,
    delay_before_retry: Option<Duration>,
    pub(super) alpha: Option<bool>,
}

impl Timing {
    /// Takes a statement, if it is about this.
    pub(super) fn take(&mut self, context: &mut Context, statement: &Statement) -> bool {
        match statement.keyword() {
            "delay_loop" => self.delay_loop = context.timer(statement),
            "connect_timeout" => self.connect_timeout = context.timer(statement),
            "retry" | "nb_get_retry" => self.retry = context.number(statement),
            "delay_before_retry" => self.delay_before_retry = context.timer(statement),
            "alpha" => self.alpha = context.flag(statement),
            _ => return false,
        }
        true
    }

    /// A check with these times. A server that is up is asked again soon after a failure, one that is down is not.
    fn applied(&self, check: Table, retries: u32, before_retry: Duration) -> Table {
        let interval = self.delay_loop.unwrap_or(Duration::from_secs(60)).max(SHORTEST);
        let retry = self.delay_before_retry.unwrap_or(before_retry).clamp(SHORTEST, interval);
        check
            .with("interval", interval)
            .with("retry", retry)
            .with("timeout", self.connect_timeout.unwrap_or(Duration::from_secs(5)).max(SHORTEST))
            .with("rise", 1_u32)
            .with("fall", self.retry.unwrap_or(retries).saturating_add(1))
    }
}

/// A checker with all that is general taken out.
struct Checker<'s> {
    timing: Timing,
    address: Option<String>,
    port: Option<u16>,
    rest: Vec<&'s Statement>,
}

/// What a checker goes by where it says nothing itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct General<'g> {
    /// The header Host.
    pub(super) host: Option<&'g str>,
    /// The port, if it is not that of the server.
    pub(super) port: Option<u16>,
    /// Files of a client's certificate and its key.
    pub(super) identity: Option<&'g (String, String)>,
}

/// The checks that a checker makes; None if the statement is none.
pub(super) fn checks(
    context: &mut Context,
    statement: &Statement,
    timing: &mut Timing,
    general: General<'_>,
) -> Option<Vec<Table>> {
    let kind = statement.keyword();
    if !kind.ends_with("_CHECK") && !kind.ends_with("_GET") {
        return None;
    }
    if kind == "BFD_CHECK" || kind == "FILE_CHECK" {
        let help = "a check of the type \"command\" can look; without any check the server is always up";
        context.untranslated(statement, help);
        return Some(Vec::new());
    }
    let checker = Checker { timing: *timing, address: None, port: general.port, rest: Vec::new() };
    let checker = checker.with(context, statement.block());
    // Whoever says so, the server is not used before it has been checked.
    timing.alpha = checker.timing.alpha;
    let second = Duration::from_secs(1);
    Some(match kind {
        "TCP_CHECK" => {
            checker.nothing_more(context);
            vec![checker.check(Table::of_type("tcp"), 1, second)]
        }
        "PING_CHECK" => {
            checker.nothing_more(context);
            vec![Checker { port: None, ..checker }.check(Table::of_type("ping"), 1, second)]
        }
        "HTTP_GET" | "SSL_GET" => checker.http(context, statement, general),
        "SMTP_CHECK" => checker.smtp(context),
        "DNS_CHECK" => vec![checker.dns(context)],
        "UDP_CHECK" => vec![checker.udp(context)],
        "MISC_CHECK" => checker.misc(context).into_iter().collect(),
        _ => {
            context.wrong(statement, "an unknown checker");
            Vec::new()
        }
    })
}

impl<'s> Checker<'s> {
    fn with(mut self, context: &mut Context, block: &'s [Statement]) -> Self {
        for statement in block {
            match statement.keyword() {
                "connect_ip" => self.address = context.address(statement).map(|address| address.to_string()),
                "connect_port" => self.port = context.number(statement),
                keyword if WITHOUT_EFFECT.contains(&keyword) => {}
                _ if self.timing.take(context, statement) => {}
                _ => self.rest.push(statement),
            }
        }
        self
    }

    fn nothing_more(&self, context: &mut Context) {
        for statement in &self.rest {
            context.other(statement, &UNTRANSLATED);
        }
    }

    fn check(&self, check: Table, retries: u32, before_retry: Duration) -> Table {
        let check = check.with_some("address", self.address.clone()).with_some("port", self.port);
        self.timing.applied(check, retries, before_retry)
    }

    /// A check for each `url`.
    fn http(&self, context: &mut Context, statement: &Statement, general: General<'_>) -> Vec<Table> {
        let General { host, identity, .. } = general;
        let tls = statement.keyword() == "SSL_GET";
        let (mut own_host, mut sni, mut sni_name) = (host.map(str::to_owned), false, None);
        let mut urls = Vec::new();
        for statement in &self.rest {
            match statement.keyword() {
                "url" => urls.push(*statement),
                "virtualhost" => own_host = context.text(statement),
                "enable_sni" => sni = context.flag(statement) == Some(true),
                "sni_name" => sni_name = context.text(statement),
                _ => context.other(statement, &UNTRANSLATED),
            }
        }
        if urls.is_empty() {
            context.wrong(statement, "there is no `url`");
        }
        let check = |context: &mut Context, url: &Statement| {
            let (mut check, host) = page(context, url, tls);
            let host = host.or_else(|| own_host.clone());
            let name =
                sni_name.clone().or_else(|| host.clone()).filter(|_| tls && (sni || sni_name.is_some()));
            check = check.with_some("host", host).with_some("tls_name", name);
            if let Some((certificate, key)) = identity.filter(|_| tls) {
                check = check.with("certificate", certificate.as_str()).with("key", key.as_str());
            }
            self.check(check, 1, Duration::from_secs(3))
        };
        urls.into_iter().map(|url| check(context, url)).collect()
    }

    /// Also in the old form, with a `host` block for each address asked.
    fn smtp(self, context: &mut Context) -> Vec<Table> {
        let (hosts, rest): (Vec<&Statement>, Vec<_>) =
            self.rest.iter().partition(|inner| inner.keyword() == "host");
        let (names, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|inner| inner.keyword() == "helo_name");
        let name = names.last().and_then(|name| context.text(name));
        let table = Table::of_type("smtp").with_some("helo", name);
        let general = Self { rest, ..self };
        general.nothing_more(context);
        if hosts.is_empty() {
            return vec![general.check(table, 1, Duration::from_secs(1))];
        }
        let check = |context: &mut Context, host: &'s Statement| {
            let (address, timing) = (general.address.clone(), general.timing);
            let own = Self { timing, address, port: general.port, rest: Vec::new() };
            let own = own.with(context, host.block());
            own.nothing_more(context);
            own.check(table.clone(), 1, Duration::from_secs(1))
        };
        hosts.into_iter().map(|host| check(context, host)).collect()
    }

    fn dns(&self, context: &mut Context) -> Table {
        let mut check = Table::of_type("dns");
        for statement in &self.rest {
            match statement.keyword() {
                "type" => check = check.with_some("record", context.text(statement)),
                "name" => check = check.with_some("name", context.text(statement)),
                _ => context.other(statement, &UNTRANSLATED),
            }
        }
        let interval = self.timing.delay_loop.unwrap_or(Duration::from_secs(60));
        self.check(check, 3, interval)
    }

    fn udp(&self, context: &mut Context) -> Table {
        let (mut check, mut reply, mut lengths) = (Table::of_type("udp"), None, (0_u32, 255_u32));
        for statement in &self.rest {
            match statement.keyword() {
                "payload" => {
                    let octets = octets(&statement.arguments()).unwrap_or_default();
                    let whole: Option<Vec<u8>> = octets.iter().map(|nibbles| nibbles.octet()).collect();
                    match whole.filter(|octets| !octets.is_empty()) {
                        Some(octets) => {
                            let digits = octets.iter().map(|octet| format!("{octet:02x}"));
                            check = check.with("send_hex", digits.collect::<String>());
                        }
                        None => context.wrong(statement, "hexadecimal digits are expected"),
                    }
                }
                "require_reply" => match octets(&statement.arguments()) {
                    Some(octets) => reply = Some(octets),
                    None => context.wrong(statement, "hexadecimal digits are expected"),
                },
                "min_reply_length" => lengths.0 = context.number(statement).unwrap_or(lengths.0),
                "max_reply_length" => lengths.1 = context.number(statement).unwrap_or(lengths.1),
                _ => context.other(statement, &UNTRANSLATED),
            }
        }
        let pattern = reply.map(|reply| reply_pattern(&reply, lengths));
        self.check(check.with_some("expect_regex", pattern), 1, Duration::from_secs(1))
    }

    /// None without a program that can be called.
    fn misc(&self, context: &mut Context) -> Option<Table> {
        let (mut command, mut timeout, mut dynamic) = (None, None, false);
        for statement in &self.rest {
            match statement.keyword() {
                "misc_path" => command = script::command(context, statement, true),
                "misc_timeout" => timeout = context.timer(statement),
                "misc_dynamic" => dynamic = context.flag(statement) == Some(true),
                _ => context.other(statement, &UNTRANSLATED),
            }
        }
        let check = Table::of_type("command").with("command", command?);
        let check = if dynamic { check.with("weigh", true) } else { check };
        let timing = Timing { connect_timeout: timeout.or(self.timing.delay_loop), ..self.timing };
        let timing =
            Timing { connect_timeout: timing.connect_timeout.or(Some(Duration::from_secs(60))), ..timing };
        Some(timing.applied(check, 0, Duration::from_secs(1)))
    }
}

/// `url { ... }`, and its own `virtualhost`.
fn page(context: &mut Context, url: &Statement, tls: bool) -> (Table, Option<String>) {
    let mut check = Table::of_type(if tls { "https" } else { "http" });
    let (mut host, mut pattern, mut options, mut no_match) = (None, None, String::new(), None);
    for statement in url.block() {
        match statement.keyword() {
            "path" => check = check.with_some("path", context.text(statement)),
            "status_code" => {
                let codes: Vec<_> = statement.arguments().iter().map(|code| (*code).to_owned()).collect();
                check = check.with("status", codes);
            }
            "virtualhost" => host = context.text(statement),
            "regex" => pattern = context.text(statement),
            "regex_options" => {
                for option in statement.arguments() {
                    match option {
                        "caseless" => options.push('i'),
                        "multiline" => options.push('m'),
                        "dotall" => options.push('s'),
                        "extended" => options.push('x'),
                        "ungreedy" => options.push('U'),
                        "utf" | "ucp" => {}
                        _ => context.untranslated(statement, "our regular expressions have no such option"),
                    }
                }
            }
            "regex_no_match" => no_match = Some(statement),
            "regex_stack" => {}
            "regex_min_offset" | "regex_max_offset" => {
                context.untranslated(statement, "the whole body is searched, up to a mebioctet");
            }
            "digest" => {
                let digest = context.text(statement).map(|digits| format!("md5:{digits}"));
                check = check.with_some("digest", digest);
            }
            _ => context.wrong(statement, "an unknown keyword"),
        }
    }
    if let Some(statement) = no_match {
        context.untranslated(statement, "look for something that a good page has; the pattern is left out");
        pattern = None;
    }
    let options = if options.is_empty() { options } else { format!("(?{options})") };
    (check.with_some("body_regex", pattern.map(|pattern| format!("{options}{pattern}"))), host)
}

/// Two hexadecimal digits, each of which may be any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nibbles(Option<u8>, Option<u8>);

impl Nibbles {
    fn octet(self) -> Option<u8> {
        Some(self.0? << 4 | self.1?)
    }
}

/// Words of hexadecimal digits, in pairs from the left of each word; a word with an odd number ends with a single one.
fn octets(words: &[&str]) -> Option<Vec<Nibbles>> {
    let nibble = |c: u8| match c {
        b'x' | b'X' => Some(None),
        c => char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).map(Some),
    };
    let pair = |pair: &[u8]| match *pair {
        [high, low] => Some(Nibbles(nibble(high)?, nibble(low)?)),
        [low] => Some(Nibbles(Some(0), nibble(low)?)),
        _ => None,
    };
    words.iter().flat_map(|word| word.as_bytes().chunks(2)).map(pair).collect()
}

/// The reply begins like that, as far as it goes, and has such a length.
fn reply_pattern(reply: &[Nibbles], (least, most): (u32, u32)) -> String {
    let mut pattern = String::from("(?s-u)^");
    let compared = u32::try_from(reply.len()).unwrap_or(u32::MAX).min(most);
    for nibbles in reply.iter().take(compared as usize) {
        // What is written to a text is written.
        let _ = match *nibbles {
            Nibbles(Some(high), Some(low)) => write!(pattern, "\\x{high:x}{low:x}"),
            Nibbles(Some(high), None) => write!(pattern, "[\\x{high:x}0-\\x{high:x}f]"),
            Nibbles(None, Some(low)) => {
                let any: Vec<_> = (0..16).map(|high| format!("\\x{high:x}{low:x}")).collect();
                write!(pattern, "[{}]", any.concat())
            }
            Nibbles(None, None) => write!(pattern, "."),
        };
    }
    let _ = write!(pattern, ".{{{},{}}}$", least.saturating_sub(compared), most - compared);
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_octets() {
        let read = |text: &str| {
            let octets = octets(&text.split(' ').collect::<Vec<_>>()).unwrap();
            octets.into_iter().map(|nibbles| nibbles.octet().unwrap()).collect::<Vec<_>>()
        };
        // As keepalived's manual has it.
        let expected = [0xab, 0x12, 0x0f, 0x03, 0x45, 0x06, 0x54, 0x64, 0x43, 0x12, 0x03];
        assert_eq!(read("Ab12f 3 456 546443123"), expected);
        assert_eq!(octets(&["g0"]), None);
    }

    #[test]
    fn a_reply_matches_where_digits_are_given() {
        let pattern = |text: &str, lengths| {
            let pattern = reply_pattern(&octets(&[text]).unwrap(), lengths);
            regex::bytes::Regex::new(&pattern).unwrap()
        };
        let counted = pattern("00X1x2ff0Xxx", (0, 8));
        assert!(counted.is_match(&[0, 0x91, 0xa2, 0xff, 7, 0xc3]));
        assert!(counted.is_match(&[0, 0x91, 0xa2, 0xff, 7, 0xc3, 1, 2]) && !counted.is_match(&[0; 6]));
        assert!(!counted.is_match(&[0, 0x91, 0xa2, 0xff, 7, 0xc3, 1, 2, 3]), "too long");
        assert!(!counted.is_match(&[0, 0x91, 0xa2, 0xff, 0x17, 0xc3]));
        let any = pattern("", (2, 3));
        assert!(any.is_match(b"ab") && any.is_match(b"abc") && !any.is_match(b"a") && !any.is_match(b"abcd"));
    }
}
