//! An HTTP/1.1 request.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Failure, Target, beginning, tls};
use crate::config::{Digest, Http, Method};

/// As much of a body as is looked into.
const LARGEST_BODY: usize = 1024 * 1024;

pub(super) async fn probe(target: &Target, request: &Http) -> Result<(), Failure> {
    match &request.tls {
        None => ask(target, request, target.connect().await?).await,
        Some(tls) => ask(target, request, tls::handshake(target, tls, &[]).await?).await,
    }
}

async fn ask<S>(target: &Target, wanted: &Http, stream: S) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let host = wanted.host.clone().unwrap_or_else(|| target.endpoint().to_string());
    let method = match wanted.method {
        Method::Get => hyper::Method::GET,
        Method::Head => hyper::Method::HEAD,
    };
    let request = Request::builder().method(method).uri(&wanted.path).header(HOST, host);
    let request = request.header(USER_AGENT, "rlvs").header(CONNECTION, "close").body(Empty::<Bytes>::new());
    // The configuration takes paths and hosts of visible ASCII only; a URI may still be malformed otherwise.
    let request = request.map_err(|reason| Failure::Unexpected(reason.to_string()))?;
    let answer = async { judge(wanted, sender.send_request(request).await?).await };
    let mut answer = std::pin::pin!(answer);
    // The connection is driven by whoever polls it. How it ends matters only to an answer that is not complete.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

async fn judge(wanted: &Http, response: Response<Incoming>) -> Result<(), Failure> {
    let status = response.status().as_u16();
    if !wanted.status.iter().any(|range| range.contains(&status)) {
        return Err(Failure::Status(status));
    }
    if wanted.body.is_none() && wanted.digest.is_none() {
        return Ok(());
    }
    let mut body = response.into_body();
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            content.extend_from_slice(data);
        }
        if content.len() > LARGEST_BODY {
            break;
        }
    }
    // Once, at the end: looking again after each part would take the square of the time.
    if wanted.body.as_ref().is_some_and(|expected| !expected.is_in(&content)) {
        return Err(Failure::Unexpected(beginning(&content)));
    }
    let Some(digest) = &wanted.digest else { return Ok(()) };
    let found = match digest {
        Digest::Md5(_) => Digest::Md5(md5::compute(&content).0),
        Digest::Sha256(_) => {
            let found = ring::digest::digest(&ring::digest::SHA256, &content);
            Digest::Sha256(found.as_ref().try_into().map_err(|_| Failure::Malformed)?)
        }
    };
    if found == *digest { Ok(()) } else { Err(Failure::Digest(found.to_string())) }
}
