//! An event to a program somewhere else, as JSON, by HTTP's POST.

use std::io;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{connect, refused};
use crate::config::Webhook;
use crate::nanny::probe::tls;
use crate::notify::Dated;

pub(super) async fn send(hook: &Webhook, batch: &[Dated]) -> io::Result<()> {
    for event in batch {
        let event = Bytes::from(serde_json::to_vec(event)?);
        let (stream, address) = connect(&hook.host, hook.port).await?;
        match &hook.tls {
            None => post(hook, event, stream).await?,
            Some(tls) => {
                post(hook, event, tls::over(stream, address, tls, &[]).await.map_err(refused)?).await?;
            }
        }
    }
    Ok(())
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
