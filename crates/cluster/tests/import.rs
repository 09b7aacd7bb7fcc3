//! Other programs' configurations: any of them is translated or refused, and what keepalived refuses is told.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use rlvs_cluster::Config;
use rlvs_cluster::import::{Format, ImportError, translate};

/// Lines and parts of lines of all formats.
const PARTS: &[&str] = &[
    "\n",
    "\n    ",
    "\n\t",
    " ",
    "=",
    " = ",
    " {\n",
    "\n}\n",
    "{",
    "}",
    "\"",
    "'",
    "\\",
    "#",
    "!",
    "$",
    "@",
    "0",
    "1",
    "-1",
    "0x1f",
    "4294967296",
    "80",
    "1.5",
    "yes",
    "no",
    "192.0.2.1",
    "192.0.2.1-9",
    "192.0.2.0/24",
    "10.0.0.1",
    "10.0.0.1->10.0.0.9",
    "2001:db8::1",
    "[2001:db8::1]:80",
    "eth0",
    "eth0:1",
    "/bin/true",
    "\u{7f}",
    "é",
    "fwmark",
    // lvs.cf
    "virtual a {\n",
    "server b {\n",
    "failover c {\n",
    "active = 1\n",
    "address = 192.0.2.1 eth0:1\n",
    "address = 10.0.0.1\n",
    "port = 80\n",
    "send = \"a\\n*\"\n",
    "expect = \"(\"\n",
    "use_regex = 1\n",
    "pmask",
    "fwmark = 7\n",
    "primary = 192.0.2.2\n",
    "backup = 192.0.2.3\n",
    "backup_active = 1\n",
    "heartbeat = 1\n",
    "nat_router = 10.0.0.1 eth1\n",
    "nat_nmask = 255.255.255.0\n",
    "persistent = 3\n",
    "sorry_server = 10.0.0.1\n",
    "network = direct\n",
    // keepalived.conf
    "virtual_server 192.0.2.1 80 {\n",
    "virtual_server group g {\n",
    "virtual_server_group g {\n",
    "protocol TCP\n",
    "real_server 10.0.0.1 80 {\n",
    "lvs_method TUN type gue port 1\n",
    "TCP_CHECK {\n",
    "HTTP_GET {\n",
    "url {\n",
    "path /\n",
    "regex \"(\"\n",
    "status_code 200\n",
    "MISC_CHECK {\n",
    "misc_path \"/bin/true 'a\"\n",
    "UDP_CHECK {\n",
    "payload 00ff\n",
    "require_reply 0X\n",
    "min_reply_length 9\n",
    "quorum 9\n",
    "weight 0\n",
    "persistence_timeout\n",
    "vrrp_instance a {\n",
    "interface eth0\n",
    "virtual_router_id 1\n",
    "virtual_ipaddress {\n",
    "priority 255\n",
    "advert_int 0.1\n",
    "vrrp_sync_group g {\n",
    "group {\n",
    "a\n",
    "vrrp_script s {\n",
    "script /bin/true\n",
    "track_script {\n",
    "s weight 300\n",
    "global_defs {\n",
    "lvs_flush\n",
    "notify_master \"/bin/true ' $*\"\n",
    "$A=",
    "${A}",
    "$A ",
    "~SEQ(A,1,3) ",
    "~LST(A,x,y) ",
    "~SEQ(",
    "include none\n",
    "@id ",
    "connect_ip ::1\n",
    "delay_loop 99999\n",
    "auth_pass é\n",
    "authentication {\n",
    // ldirectord.cf
    "virtual=192.0.2.1:80\n",
    "virtual=7\n",
    "virtual6=",
    "    real=10.0.0.1:80 masq 1 \"a\", \"(\"\n",
    "    checktype=3\n",
    "    checktype=external\n",
    "    checkcommand=a b\n",
    "    service=dns\n",
    "    receive=",
    "    request=/ a\n",
    "    fallback=127.0.0.1\n",
    "fallbackcommand=x\n",
    "    real=web:80 masq\n",
    "quiescent=yes\n",
    "    persistent=9\n",
    "    netmask=1\n",
    "    ops=yes\n",
];

proptest! {
    /// None is refused by our own reader, and none is too much for the translator.
    #[test]
    fn any_configuration_is_translated_or_refused(parts in proptest::collection::vec(0..PARTS.len(), 0..60)) {
        let text: String = parts.into_iter().map(|part| PARTS[part]).collect();
        for (_, format) in Format::NAMES {
            match translate(format, &text, Path::new("/none/at all"), Some("id"), |_| Vec::new()) {
                Ok(translation) => {
                    let read = Config::parse(&translation.text, Path::new("translated"));
                    prop_assert!(read.is_ok(), "{text:?} is {}: {read:?}", translation.text);
                }
                Err(ImportError::Malformed(problems)) => prop_assert!(!problems.is_empty()),
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
        let _ = Format::guess(&text);
    }
}

/// A whole server of keepalived's, with more in it.
fn server(more: &str) -> String {
    format!(
        "virtual_server 192.0.2.10 80 {{\n lvs_sched rr\n lvs_method NAT\n protocol TCP\n \
         real_server 10.0.0.1 80 {{\n TCP_CHECK {{\n }}\n }}\n {more}\n}}\n"
    )
}

/// A file that goes with the test.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _may_not_be_there = std::fs::remove_file(&self.0);
    }
}

/// keepalived itself is the judge of what is a right file: what it takes we translate without a complaint, and what it
/// complains about we complain about.
#[test]
#[ignore = "needs root"]
fn keepalived_takes_and_refuses_the_same_files() {
    let good = [
        server(""),
        server("real_server 10.0.0.2 80 { TCP_CHECK { connect_timeout 3 } }\n delay_loop 1.5"),
        server("quorum 1\n persistence_timeout 30\n persistence_granularity 255.255.255.0\n alpha\n sorry_server 10.0.0.9 80"),
        server("real_server 10.0.0.2 81 {\n weight 3\n HTTP_GET {\n url {\n path /a\n status_code 200\n }\n connect_port 8080\n retry 2\n delay_before_retry 1\n }\n }"),
        server("real_server 10.0.0.2 80 {\n UDP_CHECK {\n payload 6869\n require_reply 6X\n }\n PING_CHECK { }\n DNS_CHECK {\n type A\n name example.org\n }\n }"),
        server("~SEQ(i,2,1,4) real_server 10.0.0.$i 80 { }"),
        server("~LST(j,7,9) real_server 10.0.0.${j} 80 { }"),
        format!("$RS= \\\n real_server 10.0.0.3 80 {{ \\\n weight 2 \\\n }}\n{}", server("$RS")),
        format!("global_defs{{\n router_id \"a#b\" }}\n! more\n@other nonsense\n{}", server("")),
        "virtual_server fwmark 5 {\n lvs_sched wlc\n lvs_method DR\n real_server 10.0.0.1 { TCP_CHECK { connect_port 80 } }\n}\n".to_owned(),
    ];
    let bad = [
        "virtual_server 192.0.2.10 80 {\n".to_owned(),
        server("}"),
        server("nonsense 1"),
        server("delay_loop soon"),
        server("real_server nowhere 80 {\n }"),
        server("protocol NONE"),
        server("quorum 9"),
        format!("nonsense here\n{}", server("")),
        server("router_id \"never closed"),
        server("").replace("192.0.2.10", "192.0.2.300"),
        server("").replace("protocol TCP", ""),
        server("").replace("lvs_method NAT", "lvs_method DR").replace("10.0.0.1 80", "10.0.0.1 81"),
        "vrrp_instance A {\n interface nowhere0\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n".to_owned(),
    ];
    let file = Temporary(std::env::temp_dir().join(format!("rlvs-judge-{}.conf", std::process::id())));
    let path = &file.0;
    let takes = |text: &str| {
        std::fs::write(path, text).unwrap();
        let output = Command::new("keepalived").arg("--config-test").arg("-f").arg(path).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let ours = |text: &str| match translate(Format::Keepalived, text, path, Some("main"), |_| Vec::new()) {
        Ok(translation) => translation.problems.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    };
    for text in &good {
        let (taken, words) = takes(text);
        assert!(taken, "{text}{words}");
        assert_eq!(ours(text), [""; 0], "{text}");
    }
    for text in &bad {
        let (taken, _) = takes(text);
        assert!(!taken, "{text}");
        assert!(!ours(text).is_empty(), "{text}");
    }
}
