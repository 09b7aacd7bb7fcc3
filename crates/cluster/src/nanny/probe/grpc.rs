//! gRPC's health checking protocol: the method `grpc.health.v1.Health/Check`, over HTTP/2.

use h2::RecvStream;
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use hyper::{Request, Response, body::Bytes};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Failure, Target, tls};
use crate::config::Grpc;

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// Before each message: a flag that it is compressed, and its length.
const PREFIX: usize = 5;
/// An answer has two octets, and what later versions of the protocol may add.
const LARGEST_ANSWER: usize = 16 * 1024;

/// `HealthCheckRequest`
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    service: String,
}

/// `HealthCheckResponse`
#[derive(Clone, PartialEq, Message)]
struct Answer {
    // An enumeration's number, on the wire the same.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `HealthCheckResponse.ServingStatus`, by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

pub(super) async fn probe(target: &Target, health: &Grpc) -> Result<(), Failure> {
    match &health.tls {
        None => ask(target, health, "http", target.connect().await?).await,
        Some(tls) => ask(target, health, "https", tls::handshake(target, tls, &["h2"]).await?).await,
    }
}

async fn ask<S>(target: &Target, health: &Grpc, scheme: &str, stream: S) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sender, connection) = h2::client::handshake(stream).await?;
    let authority = health.host.clone().unwrap_or_else(|| target.endpoint().to_string());
    let request = Request::post(format!("{scheme}://{authority}{METHOD}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "rlvs")
        .body(());
    let request = request.map_err(|reason| Failure::Unexpected(reason.to_string()))?;
    let question = framed(&Question { service: health.service.clone() });
    let answer = async {
        let (response, mut body) = sender.ready().await?.send_request(request, false)?;
        body.send_data(question, true)?;
        judge(response.await?).await
    };
    let mut answer = std::pin::pin!(answer);
    // The connection is driven by whoever polls it. How it ends matters only to an answer that is not complete.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

fn framed(message: &impl Message) -> Bytes {
    // A service's name in the configuration has far fewer than 4 GiB.
    let length = (message.encoded_len() as u32).to_be_bytes();
    [&[0], length.as_slice(), &message.encode_to_vec()].concat().into()
}

async fn judge(response: Response<RecvStream>) -> Result<(), Failure> {
    let (head, mut body) = response.into_parts();
    if !head.status.is_success() {
        return Err(Failure::Status(head.status.as_u16()));
    }
    let mut content = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        content.extend_from_slice(&part);
        if content.len() > LARGEST_ANSWER {
            return Err(Failure::Malformed);
        }
    }
    // A server that has nothing but an error says so at once, in the place of trailers.
    let trailers =
        if head.headers.contains_key("grpc-status") { Some(head.headers) } else { body.trailers().await? };
    succeeded(&trailers.unwrap_or_default())?;
    let Some(([0, ..], message)) = content.split_first_chunk::<PREFIX>() else {
        return Err(Failure::Malformed);
    };
    let answer = Answer::decode(message).map_err(|_| Failure::Malformed)?;
    match usize::try_from(answer.status).ok().and_then(|status| STATUSES.get(status)) {
        Some(&"SERVING") => Ok(()),
        Some(status) => Err(Failure::NotServing((*status).to_owned())),
        None => Err(Failure::NotServing(format!("status {}", answer.status))),
    }
}

/// Whether the method did what it was asked for.
fn succeeded(trailers: &HeaderMap) -> Result<(), Failure> {
    let text = |key| trailers.get(key).and_then(|value| value.to_str().ok());
    match text("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::Grpc { code, text: text("grpc-message").unwrap_or_default().to_owned() }),
        None => Err(Failure::Malformed),
    }
}
