//! A conversation with a mail server (RFC 5321), over TLS if it is to be (RFC 3207, RFC 8314), and with a login (RFC 4954).

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{connect, refused};
use crate::config::{Login, Mail, Security};
use crate::nanny::probe::tls;

/// A reply is not longer than this.
const LONGEST: u64 = 64 * 1024;

/// Hands a message over; it ends with its final dot.
pub(super) async fn send(mail: &Mail, message: &str) -> io::Result<()> {
    let (stream, address) = connect(&mail.host, mail.port).await?;
    let name = literal(stream.local_addr()?.ip());
    match &mail.security {
        Security::None => {
            let mut session = Session::begin(stream).await?;
            session.say(&format!("HELO {name}"), "the greeting").await?;
            session.deliver(mail, message).await
        }
        Security::Tls(tls) => {
            let stream = tls::over(stream, address, tls, &[]).await.map_err(refused)?;
            Session::begin(stream).await?.deliver_as(&name, mail, message).await
        }
        Security::StartTls(tls) => {
            let mut session = Session::begin(stream).await?;
            session.say(&format!("EHLO {name}"), "EHLO").await?;
            session.say("STARTTLS", "STARTTLS").await?;
            let stream = tls::over(session.into_plain()?, address, tls, &[]).await.map_err(refused)?;
            Session::over(stream).deliver_as(&name, mail, message).await
        }
    }
}

/// How a host without a name calls itself.
fn literal(own: IpAddr) -> String {
    if own.is_ipv4() { format!("[{own}]") } else { format!("[IPv6:{own}]") }
}

struct Session<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A server speaks first.
    async fn begin(stream: S) -> io::Result<Self> {
        let mut session = Self::over(stream);
        session.hear("the connection").await?;
        Ok(session)
    }

    fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// The connection, for TLS. What was sent before it, by whoever is between, must not count as said over it.
    fn into_plain(self) -> io::Result<S> {
        if self.0.buffer().is_empty() {
            return Ok(self.0.into_inner());
        }
        Err(io::Error::other("the mail server talks on before TLS has begun"))
    }

    /// As who has a login, if the file has one.
    async fn deliver_as(mut self, name: &str, mail: &Mail, message: &str) -> io::Result<()> {
        let abilities = self.say(&format!("EHLO {name}"), "EHLO").await?;
        if let Some(login) = &mail.login {
            self.log_in(login, &abilities).await?;
        }
        self.deliver(mail, message).await
    }

    async fn log_in(
        &mut self,
        Login { user, password_file }: &Login,
        abilities: &[String],
    ) -> io::Result<()> {
        let password = password(password_file)?;
        let mechanisms = abilities.iter().find_map(|line| line.strip_prefix("AUTH ")).unwrap_or_default();
        let offered = |wanted| mechanisms.split_whitespace().any(|mechanism| mechanism == wanted);
        if offered("PLAIN") {
            let proof = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
            self.say(&format!("AUTH PLAIN {proof}"), "AUTH PLAIN").await?;
        } else if offered("LOGIN") {
            self.say("AUTH LOGIN", "AUTH LOGIN").await?;
            self.say(&BASE64_STANDARD.encode(user), "the user's name").await?;
            self.say(&BASE64_STANDARD.encode(password), "the password").await?;
        } else {
            let what = "the mail server takes no password (AUTH PLAIN or LOGIN): leave out `user`, or use its other port";
            return Err(io::Error::other(what));
        }
        Ok(())
    }

    async fn deliver(mut self, mail: &Mail, message: &str) -> io::Result<()> {
        let from = format!("MAIL FROM:<{}>", mail.from);
        self.say(&from, &from).await?;
        for to in &mail.to {
            let to = format!("RCPT TO:<{to}>");
            self.say(&to, &to).await?;
        }
        self.say("DATA", "DATA").await?;
        self.0.write_all(message.as_bytes()).await?;
        self.0.flush().await?;
        self.hear("the message").await?;
        // It has the message now, whatever it says to this.
        let _farewell = self.0.write_all(b"QUIT\r\n").await;
        let _farewell = self.0.flush().await;
        Ok(())
    }

    /// A command and its reply. `what` stands for it in messages, where a password has no place.
    async fn say(&mut self, command: &str, what: &str) -> io::Result<Vec<String>> {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.0.flush().await?;
        self.hear(what).await
    }

    /// Reads a reply, to the last of its lines, in which a blank follows the number; 2xx and 3xx are good. The lines without
    /// the number.
    async fn hear(&mut self, what: &str) -> io::Result<Vec<String>> {
        let mut reader = (&mut self.0).take(LONGEST);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).await?;
            let line = line.trim_end();
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes() {
                [b'2' | b'3', _, _, b'-', ..] => {}
                [b'2' | b'3', _, _, ..] => return Ok(lines),
                _ => return Err(io::Error::other(format!("to {what} the mail server says {line:?}"))),
            }
        }
    }
}

/// The first line of a file that nobody else may read.
fn password(path: &Path) -> io::Result<String> {
    let about = |reason: &dyn std::fmt::Display| io::Error::other(format!("{}: {reason}", path.display()));
    let mode = std::fs::metadata(path).map_err(|reason| about(&reason))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(about(&format_args!(
            "others may read this password (mode {:o}): chmod 600",
            mode & 0o777
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|reason| about(&reason))?;
    text.lines().next().map(str::to_owned).ok_or_else(|| about(&"there is no password in it"))
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn a_password_is_nobody_elses_business() {
        let path = std::env::temp_dir().join(format!("rlvs-password-{}", std::process::id()));
        write(&path, "secret\nnot this\n").unwrap();
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = password(&path).unwrap_err().to_string();
        assert!(error.contains("(mode 640): chmod 600"), "{error}");
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(password(&path).unwrap(), "secret");
        write(&path, "").unwrap();
        assert!(password(&path).unwrap_err().to_string().contains("no password"));
        std::fs::remove_file(&path).unwrap();
        assert!(password(&path).unwrap_err().to_string().contains("No such file"));
    }

    #[tokio::test]
    async fn nothing_said_before_tls_counts() {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(b"220 go on\r\n250 injected\r\n").await.unwrap();
        let mut session = Session::over(near);
        session.say("STARTTLS", "STARTTLS").await.unwrap();
        let error = session.into_plain().err().unwrap().to_string();
        assert!(error.contains("before TLS"), "{error}");
    }
}
