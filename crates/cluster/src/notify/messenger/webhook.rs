//! An event to a program somewhere else, as JSON, by HTTP's POST.

use std::io;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Webhook;
use crate::nanny::probe::Target;
use crate::nanny::probe::tls;
use crate::notify::Dated;

pub(super) async fn send(hook: &Webhook, batch: &[Dated]) -> io::Result<()> {
    for event in batch {
        let event = Bytes::from(serde_json::to_vec(event)?);
        let address = tokio::net::lookup_host((hook.host.as_str(), hook.port)).await?.next();
        let address = address.ok_or_else(|| io::Error::other(format!("{} has no address", hook.host)))?;
        let target = Target { address: address.ip(), port: address.port() };
        let stream = async {
            match &hook.tls {
                None => Ok(Stream::Plain(target.connect().await?)),
                Some(tls) => Ok(Stream::Tls(tls::handshake(&target, tls, &[]).await?)),
            }
        };
        match stream
            .await
            .map_err(|failure: crate::nanny::probe::Failure| io::Error::other(failure.to_string()))?
        {
            Stream::Plain(stream) => post(hook, event, stream).await?,
            Stream::Tls(stream) => post(hook, event, stream).await?,
        }
    }
    Ok(())
}

enum Stream<P, T> {
    Plain(P),
    Tls(T),
}

async fn post(hook: &Webhook, event: Bytes, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let mut request = Request::post(&hook.path)
        .header(HOST, &hook.authority)
        .header(USER_AGENT, "rlvs")
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/json");
    if let Some(authorization) = &hook.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(Full::new(event)).map_err(io::Error::other)?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection is driven by whoever polls it.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    let status = answer.map_err(io::Error::other)?.status();
    if status.is_success() { Ok(()) } else { Err(io::Error::other(format!("its answer is {status}"))) }
}
