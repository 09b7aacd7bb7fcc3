//! What a running cluster says of itself.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

mod scene;

use std::time::{Duration, Instant};

use rlvs_cluster::director::Place;
use rlvs_cluster::notify::{Health, Notice};
use rlvs_cluster::status::{self, Follow, Grade, Status, StatusError};
use scene::{LIMIT, Scene, address, listen, with_servers};

fn socket(scene: &Scene) -> String {
    status::socket_name(&Place::Socket(scene.name.clone()))
}

/// The status as soon as it is as expected.
async fn wait_for(scene: &Scene, expected: impl Fn(&Status) -> bool) -> Status {
    let start = Instant::now();
    loop {
        let status = status::ask(&socket(scene)).await;
        match status {
            Ok(status) if expected(&status) => return status,
            status => assert!(start.elapsed() < LIMIT, "{status:#?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn it_says_who_serves_and_why_not() {
    let ((one, at_one), at_two) = (listen(11, 1).await, address(11, 2));
    let keys = "name = \"web\"\nsorry_server = { address = \"127.0.0.9\" }";
    let scene = Scene::start("status", &with_servers(keys, &[at_one, at_two]));
    let known = |status: &Status| {
        let servers = status.services.iter().flat_map(|service| &service.servers);
        servers.clone().count() == 2 && servers.clone().all(|server| server.state != Health::Unknown)
    };
    let status = wait_for(&scene, known).await;
    assert_eq!(status.grade(), Grade::Warning);
    let service = &status.services[0];
    assert_eq!((service.name.as_str(), service.state, service.live), ("web", Health::Up, 1));
    assert!(!service.sorry_server.as_ref().unwrap().in_use);
    let [good, bad] = service.servers.as_slice() else { panic!("{service:#?}") };
    assert_eq!((good.address.clone(), good.state, good.weight), (at_one.to_string(), Health::Up, Some(1)));
    assert!(good.checks[0].last.as_ref().unwrap().good);
    assert_eq!((bad.state, bad.weight), (Health::Down, None));
    let last = bad.checks[0].last.as_ref().unwrap();
    assert_eq!(bad.checks[0].kind, "tcp");
    assert!(last.reason.as_ref().unwrap().contains("refused"), "{last:?}");

    // Nobody is left; and the file does not hold any more.
    drop(one);
    scene.reload("zork = 1").await;
    let down = |status: &Status| status.services[0].state == Health::Down && status.refused.is_some();
    let status = wait_for(&scene, down).await;
    assert_eq!(status.grade(), Grade::Critical);
    assert!(status.services[0].sorry_server.as_ref().unwrap().in_use);
    assert!(status.refused.unwrap().contains("unknown key `zork`"));
    let name = socket(&scene);
    scene.stop().await;
    assert!(matches!(status::ask(&name).await, Err(StatusError::NotRunning(_))));
}

#[tokio::test]
async fn followers_hear_of_events_and_of_the_end() {
    let (one, at_one) = listen(12, 1).await;
    let scene = Scene::start("follow", &with_servers("name = \"web\"", &[at_one]));
    wait_for(&scene, |status| status.services.iter().any(|service| service.state == Health::Up)).await;
    let mut events = Follow::start(&socket(&scene)).await.unwrap();
    drop(one);
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let event = tokio::time::timeout(LIMIT, events.next()).await.unwrap().unwrap().unwrap();
        heard.push(event.notice);
    }
    let Notice::Server { service, server, state: Health::Down, reason: Some(reason) } = &heard[0] else {
        panic!("{heard:#?}")
    };
    assert_eq!((service.as_str(), server.clone()), ("web", at_one.to_string()));
    assert!(reason.contains("refused"), "{reason}");
    assert_eq!(heard[1], Notice::Service { service: "web".into(), state: Health::Down, live: 0 });
    let change = format!("- TCP 192.0.2.1:80 -> {at_one}");
    assert_eq!(heard[2], Notice::Change { change, reason: None });
    scene.stop().await;
    assert!(tokio::time::timeout(LIMIT, events.next()).await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn a_director_that_is_missing_is_told() {
    let mut scene = Scene::start("status-waiting", "[[service]]\nmark = 7\nscheduler = \"rr\"");
    wait_for(&scene, |status| status.director.is_none() && status.services.len() == 1).await;
    scene.director.abort();
    let _ended = (&mut scene.director).await;
    scene.reload("[[service]]\nmark = 7\nscheduler = \"wrr\"").await;
    let status = wait_for(&scene, |status| status.refused.is_some()).await;
    assert_eq!(status.services[0].name, "FWM 7", "the old file stays in effect");
    scene.director = scene::direct(&scene.name, &scene.table);
    scene.reload("[[service]]\nmark = 7\nscheduler = \"wrr\"").await;
    wait_for(&scene, |status| status.refused.is_none() && status.director.is_none()).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_service_that_comes_later_knows_what_others_have_found() {
    let (_one, at_one) = listen(13, 1).await;
    let service = |last: u8| with_servers("", &[at_one]).replace("192.0.2.1", &format!("192.0.2.{last}"));
    // Done at once, and then never again within this test.
    let rare = |text: String| text.replace("\"50ms\"", "\"1h\", jitter = \"0s\"");
    let scene = Scene::start("shared", &rare(service(1)));
    let all_up = |services: usize| {
        move |status: &Status| {
            let up = status.services.iter().filter(|service| service.state == Health::Up);
            up.count() == services
        }
    };
    wait_for(&scene, all_up(1)).await;
    scene.reload(&rare(service(1) + &service(2))).await;
    wait_for(&scene, all_up(2)).await;
    scene.stop().await;
}
