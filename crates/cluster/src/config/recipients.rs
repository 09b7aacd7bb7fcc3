//! `[mail]` and `[[webhook]]`: who is told of events.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;
use rustls::pki_types::ServerName;

use super::check::{Tls, tls_name};
use super::section::Section;
use super::value::endpoint;

/// Somebody who is told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// People.
    Mail(Mail),
    /// A program somewhere else.
    Webhook(Webhook),
}

/// Mail by a mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The mail server, a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is talked to.
    pub security: Security,
    /// As whom, over TLS only.
    pub login: Option<Login>,
    /// Who writes.
    pub from: String,
    /// To whom, at least one.
    pub to: Vec<String>,
}

/// Whether TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// It is not.
    None,
    /// Once the server has agreed to it (RFC 3207). One that does not gets no mail.
    StartTls(Tls),
    /// From the first octet (RFC 8314, 3.3).
    Tls(Tls),
}

/// Who a mail server lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// A file with the password in its first line, which nobody else may read.
    pub password_file: PathBuf,
}

/// A URL that each event is posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Host and port as in the URL.
    pub authority: String,
    /// The host, a name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// The header Authorization.
    pub authorization: Option<String>,
    /// HTTPS.
    pub tls: Option<Tls>,
}

impl fmt::Display for Recipient {
    /// For the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mail(mail) => write!(f, "{} by {}", mail.to.join(", "), mail.host),
            Self::Webhook(hook) => write!(f, "{}", hook.authority),
        }
    }
}

/// Where most distributions have the authorities that browsers trust, or a link to them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// All recipients of the file.
pub(super) fn all(file: &Section<'_>) -> Vec<Recipient> {
    let mails = file.sections("mail").into_iter().filter_map(|section| {
        let mail = mail(&section);
        section.finish();
        mail.map(Recipient::Mail)
    });
    let mut recipients: Vec<_> = mails.collect();
    recipients.extend(file.sections("webhook").into_iter().filter_map(|section| {
        let hook = webhook(&section);
        section.finish();
        hook.map(Recipient::Webhook)
    }));
    recipients
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    StartTls,
    Tls,
}

fn mail(section: &Section<'_>) -> Option<Mail> {
    let what = "a host such as \"192.0.2.25\" or \"mail.example.org:587\"";
    let server = section.parsed("server", what, host);
    let ways = [("none", Way::Plain), ("starttls", Way::StartTls), ("tls", Way::Tls)];
    let way = section.choice("tls", &ways).unwrap_or(Way::Plain);
    let tls_name = tls_name(section);
    let authorities = authorities(section);
    if way == Way::Plain && (tls_name.is_some() || authorities.is_some()) {
        section.mistake("`tls_name` and `ca` are for `tls = \"starttls\"` and `tls = \"tls\"` only");
    }
    let login = login(section, way);
    let mailbox = "an address such as \"ops@example.org\"";
    let from = section.parsed("from", mailbox, self::mailbox);
    let to = section.all_parsed("to", mailbox, self::mailbox);
    for (key, what) in [("server", "the mail server"), ("from", "who writes"), ("to", "to whom")] {
        if !section.has(key) {
            section.mistake(format!("`{key}` is missing: {what}"));
        }
    }
    let to = to.into_iter().map(|to| to.value).collect();
    let (host, port) = server?.value;
    // Without a name in the certificate, it is the server's that counts.
    let tls = || Tls { name: tls_name.or_else(|| Some(host.clone())), ..trusting(authorities) };
    let (security, usual) = match way {
        Way::Plain => (Security::None, 25),
        Way::StartTls => (Security::StartTls(tls()), 587),
        Way::Tls => (Security::Tls(tls()), 465),
    };
    Some(Mail { host, port: port.unwrap_or(usual), security, login, from: from?.value, to })
}

fn login(section: &Section<'_>, way: Way) -> Option<Login> {
    let user = section.parsed("user", "a name without control characters", |text| {
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
    });
    let file = section.parsed("password_file", "the absolute path of a file", |text| {
        text.starts_with('/').then(|| PathBuf::from(text))
    });
    if section.has("user") != section.has("password_file") {
        section.mistake("`user` and `password_file` go together");
    } else if section.has("user") && way == Way::Plain {
        section.mistake("a password is sent over TLS only: say `tls = \"starttls\"` or `tls = \"tls\"`");
    }
    Some(Login { user: user?.value, password_file: file?.value })
}

/// A host and a port, or none.
fn host(text: &str) -> Option<(String, Option<u16>)> {
    if let Some((address, port)) = endpoint(text) {
        return Some((address.to_string(), port));
    }
    let authority: Authority = text.parse().ok().filter(|_| !text.contains(['@', '[']))?;
    let known = ServerName::try_from(authority.host()).is_ok()
        && text.rsplit_once(':').is_none_or(|_| authority.port().is_some());
    known.then(|| (authority.host().to_owned(), authority.port_u16()))
}

/// In ASCII, without what would end it in a command or a header.
fn mailbox(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let good = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"<>(),;:\\\"[]".contains(&b))
    };
    (text.len() <= 254 && good(local) && good(domain)).then(|| text.to_owned())
}

fn webhook(section: &Section<'_>) -> Option<Webhook> {
    let url = section.parsed("url", "a URL such as \"https://example.org/hook\"", |text| {
        let url: Uri = text.parse().ok()?;
        let https = match url.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = url.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        let path = url.path_and_query().map_or("/".to_owned(), ToString::to_string);
        Some((https, authority.to_string(), host, port, path))
    });
    let authorities = authorities(section);
    let authorization = section.parsed("authorization", "what a header can have", |text| {
        HeaderValue::from_str(text).ok().map(|_| text.to_owned())
    });
    if url.is_none() && !section.has("url") {
        section.mistake("`url` is missing: where events are posted to");
    }
    let (https, authority, host, port, path) = url?.value;
    if authorities.is_some() && !https {
        section.mistake("`ca` is for https only");
    }
    let tls = https.then(|| Tls { name: Some(host.clone()), ..trusting(authorities) });
    Some(Webhook { authority, host, port, path, authorization: authorization.map(|text| text.value), tls })
}

/// `ca`: who is trusted.
fn authorities(section: &Section<'_>) -> Option<PathBuf> {
    let authorities = section.parsed("ca", "the absolute path of a file in PEM", |text| {
        text.starts_with('/').then(|| PathBuf::from(text))
    });
    authorities.map(|path| path.value)
}

/// TLS with a server that one of these authorities knows, or one of those that browsers trust.
fn trusting(authorities: Option<PathBuf>) -> Tls {
    Tls { name: None, authorities: Some(authorities.unwrap_or_else(|| AUTHORITIES.into())), identity: None }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Config;

    fn recipients(text: &str) -> Result<Vec<Recipient>, String> {
        let config = Config::parse(text, Path::new("c.toml"));
        config.map(|config| config.recipients).map_err(|error| error.to_string())
    }

    fn mail(keys: &str) -> Result<Mail, String> {
        let text = format!("[mail]\nfrom = \"a@example.org\"\nto = \"b@example.org\"\n{keys}\n");
        match recipients(&text)?.remove(0) {
            Recipient::Mail(mail) => Ok(mail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mail_goes_in_the_open_or_over_tls() {
        for (keys, host, port) in [
            ("server = \"192.0.2.25\"", "192.0.2.25", 25),
            ("server = \"[2001:db8::25]:26\"", "2001:db8::25", 26),
            ("server = \"mail.example.org\"\ntls = \"starttls\"", "mail.example.org", 587),
            ("server = \"mail.example.org:24\"\ntls = \"tls\"", "mail.example.org", 24),
            ("server = \"2001:db8::25\"\ntls = \"tls\"", "2001:db8::25", 465),
        ] {
            let mail = mail(keys).unwrap();
            assert_eq!((mail.host.as_str(), mail.port), (host, port), "{keys}");
            match mail.security {
                Security::None => assert!(!keys.contains("tls"), "{keys}"),
                Security::StartTls(tls) | Security::Tls(tls) => {
                    assert_eq!(tls.name.as_deref(), Some(host), "{keys}");
                    assert_eq!(tls.authorities.as_deref(), Some(Path::new(AUTHORITIES)), "{keys}");
                }
            }
        }
        let keys = "server = \"192.0.2.25\"\ntls = \"tls\"\ntls_name = \"mail.example.org\"\nca = \"/ca.pem\"\n\
                    user = \"rlvs\"\npassword_file = \"/secret\"";
        let Mail { security: Security::Tls(tls), login: Some(login), .. } = mail(keys).unwrap() else {
            panic!()
        };
        assert_eq!(tls.name.as_deref(), Some("mail.example.org"));
        assert_eq!(tls.authorities.as_deref(), Some(Path::new("/ca.pem")));
        assert_eq!((login.user.as_str(), login.password_file.as_path()), ("rlvs", Path::new("/secret")));
        for (from, to, reason) in [
            ("tls = \"tls\"\n", "", "`tls_name` and `ca` are for"),
            ("tls = \"tls\"\n", "", "a password is sent over TLS only"),
            ("user = \"rlvs\"\n", "", "`user` and `password_file` go together"),
            ("192.0.2.25", "a b", "4:10: `server` is \"a b\""),
            ("192.0.2.25", "mail:", "4:10: `server` is \"mail:\""),
            ("192.0.2.25", "mail:99999", "4:10: `server` is \"mail:99999\""),
            ("192.0.2.25", "a@mail", "4:10: `server` is \"a@mail\""),
        ] {
            let error = mail(&keys.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(reason), "{to}: {error}");
        }
    }

    #[test]
    fn webhooks_are_urls() {
        let text =
            "[[webhook]]\nurl = \"https://example.org\"\n[[webhook]]\nurl = \"http://[::1]:8080/a?b\"\n";
        let recipients = recipients(text).unwrap();
        let [Recipient::Webhook(secure), Recipient::Webhook(plain)] = recipients.as_slice() else {
            panic!("{recipients:?}")
        };
        assert_eq!((secure.host.as_str(), secure.port, secure.path.as_str()), ("example.org", 443, "/"));
        assert_eq!(secure.tls.as_ref().unwrap().name.as_deref(), Some("example.org"));
        assert_eq!((plain.host.as_str(), plain.port, plain.path.as_str()), ("::1", 8080, "/a?b"));
        assert_eq!((plain.authority.as_str(), &plain.tls), ("[::1]:8080", &None));
    }

    #[test]
    fn mistakes_have_their_places() {
        let bad =
            "[mail]\nserver = \"\"\nfrom = \"a@b>\\r\\nDATA\"\n[[webhook]]\nurl = \"ftp://example.org\"\n";
        let error = recipients(bad).unwrap_err();
        let lines: Vec<_> = error.lines().filter_map(|line| line.strip_prefix("c.toml:")).collect();
        let starts = ["1:1: `to` is missing", "2:10: `server`", "3:8: `from`", "5:7: `url`"];
        assert!(
            lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)) && lines.len() == 4,
            "{error}"
        );
    }
}
