//! Mail over TLS and with a password, to a server of aiosmtpd on loopback.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

mod scene;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use scene::{LIMIT, Scene, line, listen, with_servers};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A self-signed certificate of www.example.org, and its key.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/www.example.org.pem");
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mail_server.py");

struct MailServer {
    port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl MailServer {
    async fn start(kind: &str, mechanism: &str) -> Self {
        // Debian's own interpreter: it has Debian's modules.
        let mut process = Command::new("/usr/bin/python3")
            .args([PROGRAM, kind, CERTIFICATE, mechanism, "rlvs", "f\u{fc}nf"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut server = Self { port: 0, lines, _process: process };
        server.port = server.line().await.parse().unwrap();
        server
    }

    async fn line(&mut self) -> String {
        tokio::time::timeout(LIMIT, self.lines.next_line()).await.unwrap().unwrap().unwrap()
    }
}

fn password_file(test: &str, mode: u32) -> PathBuf {
    let path = std::env::temp_dir().join(format!("rlvs-mail-{}-{test}", std::process::id()));
    std::fs::write(&path, "f\u{fc}nf\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

async fn is_told(test: u8, kind: &str, mechanism: &str) {
    let mut server = MailServer::start(kind, mechanism).await;
    let (_one, at_one) = listen(test, 1).await;
    let password = password_file(kind, 0o600);
    let file = with_servers("name = \"web\"", &[at_one])
        + &format!(
            "[mail]\nserver = \"localhost:{}\"\nfrom = \"rlvs@lb.example\"\nto = [\"a@example.org\"]\ntls = \"{kind}\"\n\
             tls_name = \"www.example.org\"\nca = \"{CERTIFICATE}\"\nuser = \"rlvs\"\npassword_file = \"{}\"\n",
            server.port,
            password.display()
        );
    let scene = Scene::start(kind, &file);
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    let mail: serde_json::Value = serde_json::from_str(&server.line().await).unwrap();
    assert_eq!(
        (mail["from"].as_str(), mail["to"][0].as_str()),
        (Some("rlvs@lb.example"), Some("a@example.org"))
    );
    assert!(mail["text"].as_str().unwrap().contains(&format!("web: {at_one} is up")), "{mail}");
    scene.stop().await;
    std::fs::remove_file(password).unwrap();
}

#[tokio::test]
#[ignore = "needs root"]
async fn mail_goes_over_tls_from_the_first_octet() {
    is_told(31, "tls", "LOGIN").await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn mail_goes_over_tls_that_is_agreed_upon() {
    is_told(32, "starttls", "PLAIN").await;
}
