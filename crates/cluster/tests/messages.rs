//! Mail and webhooks, to servers on loopback that do not always want them.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

mod scene;

use std::time::Instant;

use scene::{LIMIT, Scene, line, listen, with_servers};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

async fn next(listener: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = tokio::time::timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    BufReader::new(stream)
}

/// A mail server's part of a conversation: what the client said, command by command and with the message.
async fn take_mail(listener: &TcpListener, answer_to_sender: &str) -> Vec<String> {
    let mut stream = next(listener).await;
    let mut said = Vec::new();
    stream.write_all(b"220-mail\r\n220 ready\r\n").await.unwrap();
    loop {
        let mut command = String::new();
        stream.read_line(&mut command).await.unwrap();
        let answer = match command.split([' ', '\r']).next().unwrap() {
            "HELO" | "EHLO" => "250 hello",
            "STARTTLS" => "502 what is that",
            "MAIL" => answer_to_sender,
            "RCPT" => "250 good",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                while !command.ends_with("\r\n.\r\n") {
                    assert_ne!(stream.read_line(&mut command).await.unwrap(), 0, "{command}");
                }
                "250 taken"
            }
            // QUIT, or no more.
            _ => return said,
        };
        said.push(command);
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
    }
}

/// The head of a request, in small letters, and its body.
async fn take_post(listener: &TcpListener, status: &str) -> (String, serde_json::Value) {
    let mut stream = next(listener).await;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).await.unwrap(), 0, "{head}");
    }
    let head = head.to_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn people_get_a_mail_even_if_the_first_one_is_not_taken() {
    let (one, at_one) = listen(21, 1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let file = with_servers("name = \"web\"", &[at_one])
        + &format!(
            "[mail]\nserver = \"{server}\"\nfrom = \"rlvs@lb.example\"\nto = [\"a@example.org\", \"b@example.org\"]\n"
        );
    let scene = Scene::start("mail", &file);
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    let refused = take_mail(&listener, "451 later").await;
    assert_eq!(refused[1], "MAIL FROM:<rlvs@lb.example>\r\n");
    let said = take_mail(&listener, "250 good").await;
    assert_eq!(said[2..4], ["RCPT TO:<a@example.org>\r\n", "RCPT TO:<b@example.org>\r\n"]);
    assert!(said[4].contains(&format!("Subject: rlvs: web: {at_one} is up (and 1 more)\r\n")), "{}", said[4]);
    assert!(said[4].contains("web: quorum gained: live servers weigh 1\r\n"), "{}", said[4]);
    // The end does not wait for what else might happen.
    drop(one);
    scene.wait_for(&[line(&[])]).await;
    let (said, ()) = tokio::join!(take_mail(&listener, "250 good"), scene.stop());
    assert!(said[4].contains("is down: "), "{}", said[4]);
}

#[tokio::test]
async fn without_tls_a_server_that_must_have_it_gets_nothing() {
    let (_one, at_one) = listen(24, 1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mail = format!(
        "[mail]\nserver = \"{}\"\nfrom = \"a@example.org\"\nto = \"b@example.org\"\ntls = \"starttls\"\n",
        listener.local_addr().unwrap()
    );
    let scene = Scene::start("no-tls", &(with_servers("", &[at_one]) + &mail));
    let said = take_mail(&listener, "250 good").await;
    assert!(said[0].starts_with("EHLO [127.0.0.1]"), "{said:?}");
    assert_eq!(said[1..], ["STARTTLS\r\n"]);
    drop(listener);
    scene.stop().await;
}

#[tokio::test]
async fn a_webhook_gets_each_event_as_json() {
    let (_one, at_one) = listen(22, 1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!(
        "[[webhook]]\nurl = \"http://{}/hook?a=b\"\nauthorization = \"Bearer Zork\"\n",
        listener.local_addr().unwrap()
    );
    let scene = Scene::start("webhook", &(with_servers("name = \"web\"", &[at_one]) + &hook));
    let (_, refused) = take_post(&listener, "503 Later").await;
    let (head, taken) = take_post(&listener, "204 No Content").await;
    assert_eq!(taken, refused);
    assert!(head.starts_with("post /hook?a=b http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer zork\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert_eq!((taken["event"].as_str(), taken["state"].as_str()), (Some("server"), Some("UP")));
    assert_eq!(taken["server"].as_str(), Some(at_one.to_string().as_str()));
    let (_, second) = take_post(&listener, "200 OK").await;
    assert_eq!((second["event"].as_str(), second["live"].as_u64()), (Some("service"), Some(1)));
    scene.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_who_does_not_listen() {
    let (one, at_one) = listen(23, 1).await;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = silent.local_addr().unwrap();
    let file = with_servers("", &[at_one])
        + &format!(
            "[mail]\nserver = \"{server}\"\nfrom = \"a@example.org\"\nto = \"a@example.org\"\n\
             [[webhook]]\nurl = \"http://{server}/\"\n"
        );
    let scene = Scene::start("silent", &file);
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    let _hook = next(&silent).await;
    drop(one);
    scene.wait_for(&[line(&[])]).await;
    let start = Instant::now();
    scene.stop().await;
    assert!(start.elapsed() < LIMIT);
}
