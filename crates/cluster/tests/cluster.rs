//! A running cluster with a director that only remembers, and real servers on loopback.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

mod scene;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rlvs_ipvs::{Ending, Service, ServiceId};
use scene::{LIMIT, Scene, direct, line, listen, with_servers};
use tokio::net::TcpListener;

#[tokio::test]
async fn servers_come_and_go_as_their_checks_find_them() {
    let ((one, at_one), (_two, at_two)) = (listen(1, 1).await, listen(1, 2).await);
    let scene = Scene::start("come-and-go", &with_servers("", &[at_one, at_two]));
    // Whichever was checked first stands first.
    let start = Instant::now();
    while scene.shown() != [line(&[(at_one, 1), (at_two, 1)])]
        && scene.shown() != [line(&[(at_two, 1), (at_one, 1)])]
    {
        assert!(start.elapsed() < LIMIT, "{:?}", scene.shown());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(one);
    scene.wait_for(&[line(&[(at_two, 1)])]).await;
    let _one = TcpListener::bind(at_one).await.unwrap();
    scene.wait_for(&[line(&[(at_two, 1), (at_one, 1)])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn the_sorry_server_stands_in() {
    let (one, at_one) = listen(2, 1).await;
    let sorry: SocketAddr = "127.0.0.9:80".parse().unwrap();
    let scene = Scene::start("sorry", &with_servers("sorry_server = { address = \"127.0.0.9\" }", &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    drop(one);
    scene.wait_for(&[line(&[(sorry, 1)])]).await;
    let _one = TcpListener::bind(at_one).await.unwrap();
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_server_that_fails_takes_its_connections_with_it_where_the_director_can_do_that() {
    for can in [true, false] {
        let (one, at_one) = listen(31, 1).await;
        let name = if can { "ending" } else { "keeping" };
        let scene = Scene::start(name, &with_servers("when_down = \"move\"", &[at_one]));
        scene.table.lock().unwrap().ended = can.then(Vec::new);
        scene.wait_for(&[line(&[(at_one, 1)])]).await;
        drop(one);
        scene.wait_for(&[line(&[])]).await;
        let ended = scene.table.lock().unwrap().ended.clone();
        let ended =
            ended.map(|all| all.iter().map(|(server, how)| (server.id.address, *how)).collect::<Vec<_>>());
        assert_eq!(ended, can.then(|| vec![(at_one.ip(), Ending::Move)]));
        scene.stop().await;
    }
}

#[tokio::test]
async fn a_reload_changes_what_is_different_and_nothing_else() {
    let (_one, at_one) = listen(3, 1).await;
    let scene = Scene::start("reload", &with_servers("when_down = \"quiesce\"", &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    let before = scene.changes();
    let heavier = with_servers("when_down = \"quiesce\"", &[at_one]).replace(" }]", ", weight = 5 }]");
    scene.reload(&heavier).await;
    scene.wait_for(&[line(&[(at_one, 5)])]).await;
    assert_eq!(scene.changes(), before + 1, "one destination is edited");

    // The same once more, and after it a change that is seen, so that it is known to be done.
    scene.reload(&heavier).await;
    scene.reload(&format!("{heavier}\n[[service]]\nmark = 7\n")).await;
    scene
        .wait_for(&["TCP 192.0.2.1:80 wlc: ".to_owned() + &format!("{at_one}=5"), "FWM 7 wlc: ".into()])
        .await;
    assert_eq!(scene.changes(), before + 2, "one service is added");

    // A service that is not in the file any more goes; one that never was stays.
    let other =
        ServiceId::Address { protocol: rlvs_ipvs::Protocol::UDP, address: [192, 0, 2, 1].into(), port: 53 };
    scene.table.lock().unwrap().services.insert(other, (Service::new(other), Vec::new()));
    scene.reload("").await;
    scene.wait_for(&["UDP 192.0.2.1:53 wlc: ".into()]).await;
    scene.reload("other_services = \"delete\"").await;
    scene.wait_for(&[]).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_file_that_is_refused_changes_nothing() {
    let (_one, at_one) = listen(4, 1).await;
    let good = with_servers("", &[at_one]);
    let scene = Scene::start("refused", &good);
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    let before = scene.changes();
    scene.reload("[[service]]\nzork = 1").await;
    // By the director: after the first service was changed, which is undone.
    scene
        .reload(&format!(
            "{}\n[[service]]\nmark = 7\nscheduler = \"zork\"",
            good.replace("tcp = \"192.0.2.1:80\"", "tcp = \"192.0.2.1:80\"\nscheduler = \"rr\"")
        ))
        .await;
    let start = Instant::now();
    while scene.changes() < before + 3 {
        assert!(start.elapsed() < LIMIT, "{} changes", scene.changes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    // The checks go on.
    drop(_one);
    scene.wait_for(&[line(&[])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_changed_file_is_read_by_itself_if_it_says_so() {
    let text = |weight| {
        format!(
            "auto_reload = true\n[[service]]\ntcp = \"192.0.2.1:80\"\nstart = \"up\"\nserver = {{ address = \"127.0.0.1\", weight = {weight} }}\n"
        )
    };
    let scene = Scene::start("auto-reload", &text(1));
    scene.wait_for(&["TCP 192.0.2.1:80 wlc: 127.0.0.1:80=1".to_owned()]).await;
    std::fs::write(&scene.file, text(7)).unwrap();
    scene.wait_for(&["TCP 192.0.2.1:80 wlc: 127.0.0.1:80=7".to_owned()]).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_file_that_is_refused_at_the_start_is_an_error() {
    for (test, content, reason) in [
        ("bad-file", "zork = 1", "unknown key `zork`"),
        ("refused-file", "[[service]]\nmark = 7\nscheduler = \"zork\"", "refuses `+ FWM 7 zork`"),
    ] {
        let mut scene = Scene::start(test, content);
        let ended = tokio::time::timeout(LIMIT, scene.cluster.take().unwrap()).await.unwrap().unwrap();
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(scene.shown(), [""; 0]);
    }
}

#[tokio::test]
async fn a_director_that_has_forgotten_everything_is_told_again() {
    let (_one, at_one) = listen(6, 1).await;
    let mut scene = Scene::start("forgotten", &with_servers("", &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    scene.director.abort();
    let _ended = (&mut scene.director).await;
    scene.table.lock().unwrap().services.clear();
    // A verdict while there is no director.
    drop(_one);
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.director = direct(&scene.name, &scene.table);
    scene.wait_for(&[line(&[])]).await;
    let _one = TcpListener::bind(at_one).await.unwrap();
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn the_operators_program_is_told() {
    let (one, at_one) = listen(7, 1).await;
    let told = std::env::temp_dir().join(format!("rlvs-cluster-{}-told", std::process::id()));
    let program =
        format!("notify = [\"/bin/sh\", \"-c\", \"echo $0 $* >> {}\"]\nname = \"web\"", told.display());
    let scene = Scene::start("notify", &with_servers(&program, &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    drop(one);
    let server = format!("SERVER web {at_one}");
    let expected = format!("{server} UP\nSERVICE web UP\n{server} DOWN\nSERVICE web DOWN\n");
    let start = Instant::now();
    while std::fs::read_to_string(&told).unwrap_or_default() != expected {
        assert!(start.elapsed() < LIMIT, "{:?}", std::fs::read_to_string(&told));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(&told).unwrap();
    scene.stop().await;
}

#[tokio::test]
async fn a_server_that_leaves_the_file_goes_after_its_last_connection() {
    let ((_one, at_one), (_two, at_two)) = (listen(8, 1).await, listen(8, 2).await);
    let scene = Scene::start("drain", &with_servers("drain = \"1h\"", &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    scene.table.lock().unwrap().connections = 1;
    scene.reload(&with_servers("drain = \"1h\"", &[at_two])).await;
    scene.wait_for(&[line(&[(at_one, 0), (at_two, 1)])]).await;
    scene.table.lock().unwrap().connections = 0;
    scene.wait_for(&[line(&[(at_two, 1)])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_server_that_returns_rises_to_its_weight() {
    let (one, at_one) = listen(9, 1).await;
    let file = with_servers("slow_start = \"500ms\"", &[at_one]).replace(" }]", ", weight = 32 }]");
    let scene = Scene::start("rise", &file);
    scene.wait_for(&[line(&[(at_one, 32)])]).await;
    let before = scene.changes();
    drop(one);
    scene.wait_for(&[line(&[])]).await;
    let _one = TcpListener::bind(at_one).await.unwrap();
    scene.wait_for(&[line(&[(at_one, 32)])]).await;
    // Steps that are late are taken at once; but the first one is always there.
    let changes = scene.changes() - before;
    assert!((3..=7).contains(&changes), "{changes}: deleted, added, and at most five times edited");
    scene.stop().await;
}
