//! `[mail]` and `[[webhook]]`: who is told of events.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use hyper::Uri;
use hyper::header::HeaderValue;

use super::check::Tls;
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

/// Mail by the next mail server, without TLS and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The mail server.
    pub server: SocketAddr,
    /// Who writes.
    pub from: String,
    /// To whom, at least one.
    pub to: Vec<String>,
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
            Self::Mail(mail) => write!(f, "{} by {}", mail.to.join(", "), mail.server),
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

fn mail(section: &Section<'_>) -> Option<Mail> {
    let server =
        section.parsed("server", "an address such as \"192.0.2.25\" or \"192.0.2.25:587\"", |text| {
            endpoint(text).map(|(address, port)| SocketAddr::new(address, port.unwrap_or(25)))
        });
    let mailbox = "an address such as \"ops@example.org\"";
    let from = section.parsed("from", mailbox, self::mailbox);
    let to = section.all_parsed("to", mailbox, self::mailbox);
    for (key, what) in [("server", "the mail server"), ("from", "who writes"), ("to", "to whom")] {
        if !section.has(key) {
            section.mistake(format!("`{key}` is missing: {what}"));
        }
    }
    let to = to.into_iter().map(|to| to.value).collect();
    Some(Mail { server: server?.value, from: from?.value, to })
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
    let authorities = section.parsed("ca", "the absolute path of a file in PEM", |text| {
        text.starts_with('/').then(|| PathBuf::from(text))
    });
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
    let authorities = authorities.map_or(PathBuf::from(AUTHORITIES), |path| path.value);
    let tls = https.then(|| Tls { name: Some(host.clone()), authorities: Some(authorities), identity: None });
    Some(Webhook { authority, host, port, path, authorization: authorization.map(|text| text.value), tls })
}
