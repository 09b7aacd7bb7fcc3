//! gRPC's health check, by a server on loopback that answers what real ones rarely do.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

use std::path::Path;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{HeaderMap, Response};
use rlvs_cluster::Config;
use rlvs_cluster::nanny::probe::Target;
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(20);

/// What a server answers.
#[derive(Clone, Copy)]
struct Answer {
    status: u16,
    /// Message with its prefix.
    message: &'static [u8],
    /// `grpc-status` as trailer, or without a message in the place of a header.
    code: Option<&'static str>,
}

const GOOD: Answer = Answer { status: 200, message: b"\0\0\0\0\x02\x08\x01", code: Some("0") };

/// What the check finds, and for which URL and with which message it asked.
async fn ask(answer: Answer, keys: &str) -> (Result<(), String>, String, Vec<u8>) {
    let text = format!(
        "[[service]]\nmark = 1\n[[service.server]]\naddress = \"127.0.0.1\"\n\
         [service.check]\nport = 1\ntype = \"grpc\"\n{keys}"
    );
    let probe =
        Config::parse(&text, Path::new("test")).unwrap().services[0].servers[0].checks[0].probe.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let url = request.uri().to_string();
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let asked = tokio::spawn(async move {
            let mut body = request.into_body();
            let mut asked = Vec::new();
            while let Some(part) = body.data().await {
                asked.extend_from_slice(&part.unwrap());
            }
            let mut end = HeaderMap::new();
            if let Some(code) = answer.code {
                end.insert("grpc-status", code.parse().unwrap());
            }
            let mut response = Response::builder().status(answer.status).body(()).unwrap();
            if answer.message.is_empty() {
                *response.headers_mut() = end;
                respond.send_response(response, true).unwrap();
            } else {
                let mut body = respond.send_response(response, false).unwrap();
                body.send_data(Bytes::from_static(answer.message), false).unwrap();
                body.send_trailers(end).unwrap();
            }
            asked
        });
        // The connection is driven until the client has left.
        while connection.accept().await.is_some() {}
        (url, asked.await.unwrap())
    });
    let target = Target { address: address.ip(), port: address.port() };
    let found = tokio::time::timeout(LIMIT, target.probe(&probe)).await.unwrap();
    let (url, asked) = server.await.unwrap();
    let url = url.replace(&address.to_string(), "SERVER");
    (found.map(drop).map_err(|failure| failure.to_string()), url, asked)
}

#[tokio::test]
async fn the_question_names_service_and_authority() {
    let (found, url, asked) = ask(GOOD, "").await;
    assert_eq!((found, url.as_str()), (Ok(()), "http://SERVER/grpc.health.v1.Health/Check"));
    assert_eq!(asked, b"\0\0\0\0\0");
    let (found, url, asked) = ask(GOOD, "service = \"a.B\"\nhost = \"www.example.org\"").await;
    assert_eq!((found, url.as_str()), (Ok(()), "http://www.example.org/grpc.health.v1.Health/Check"));
    assert_eq!(asked, b"\0\0\0\0\x05\x0a\x03a.B");
}

#[tokio::test]
async fn only_serving_is_good() {
    let cases = [
        (Answer { message: b"\0\0\0\0\x02\x08\x02", ..GOOD }, "it says NOT_SERVING"),
        (Answer { message: b"\0\0\0\0\x02\x08\x03", ..GOOD }, "it says SERVICE_UNKNOWN"),
        (Answer { message: b"\0\0\0\0\x02\x08\x09", ..GOOD }, "it says status 9"),
        // What is not in the message has its default.
        (Answer { message: b"\0\0\0\0\0", ..GOOD }, "it says UNKNOWN"),
        (Answer { message: b"\x01\0\0\0\x02\x08\x01", ..GOOD }, "the answer makes no sense"),
        (Answer { message: b"\0\0\0\0\x02\x0a\x09", ..GOOD }, "the answer makes no sense"),
        (Answer { code: None, ..GOOD }, "the answer makes no sense"),
        (Answer { code: Some("14"), ..GOOD }, "gRPC says 14 (unavailable)"),
        (Answer { message: b"", code: Some("12"), ..GOOD }, "gRPC says 12 (it has no health service)"),
        (Answer { message: b"", code: Some("99"), ..GOOD }, "gRPC says 99"),
        (Answer { status: 404, ..GOOD }, "status 404"),
    ];
    for (answer, expected) in cases {
        assert_eq!(ask(answer, "").await.0, Err(expected.to_owned()));
    }
}
