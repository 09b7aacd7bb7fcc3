//! Many services and servers. By itself a few hundred, to see that all are served; with `RLVS_SCALE=10000`, best by `--release` and
//! `--nocapture`, so many servers are checked every two seconds for half a minute, and the figures are printed.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

mod scene;

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rlvs_cluster::Order;
use rlvs_cluster::director::Place;
use rustix::time::{ClockId, clock_gettime};
use scene::{Table, direct};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(60);
const SERVERS_OF_A_SERVICE: u32 = 10;

/// When each address was connected to.
type Visits = Arc<Mutex<HashMap<IpAddr, Vec<Instant>>>>;

/// One listener stands for all servers: all of 127.0.0.0/8 is this machine.
fn serve(visits: Visits) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let at = Instant::now();
            if let Ok(own) = stream.local_addr() {
                visits.lock().unwrap().entry(own.ip()).or_default().push(at);
            }
        }
    });
    port
}

fn file(servers: u32, port: u16, interval: &str, first_weight: u32) -> String {
    let mut text = String::new();
    for number in 0..servers {
        if number % SERVERS_OF_A_SERVICE == 0 {
            let mark = 1 + number / SERVERS_OF_A_SERVICE;
            let check = format!("type = \"tcp\", port = {port}, interval = \"{interval}\", rise = 1");
            write!(text, "[[service]]\nmark = {mark}\ncheck = {{ {check} }}\n").unwrap();
        }
        let [_, b, c, d] = (number + 1).to_be_bytes();
        let weight = if number == 0 { first_weight } else { 1 };
        write!(text, "[[service.server]]\naddress = \"127.{}.{c}.{d}\"\nweight = {weight}\n", 64 + b)
            .unwrap();
    }
    text
}

/// Waits until it holds.
fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}: still not");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

#[test]
fn many_servers_are_all_checked_and_one_change_is_one_request() {
    let measured: Option<u32> = std::env::var("RLVS_SCALE").ok().and_then(|servers| servers.parse().ok());
    let (servers, interval) = (measured.unwrap_or(200), if measured.is_some() { "2s" } else { "100ms" });
    let visits = Visits::default();
    let port = serve(Arc::clone(&visits));
    let path = std::env::temp_dir().join(format!("rlvs-scale-{}.toml", std::process::id()));
    std::fs::write(&path, file(servers, port, interval, 1)).unwrap();

    let name = format!("rlvs-scale-test/{}", std::process::id());
    let table: Arc<Mutex<Table>> = Arc::default();
    let (stop_director, stopped) = tokio::sync::oneshot::channel::<()>();
    let director = {
        let (name, table) = (name.clone(), Arc::clone(&table));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let serving = direct(&name, &table);
                let _stopped = stopped.await;
                serving.abort();
            });
        })
    };
    let (orders, received) = mpsc::channel(1);
    let used = Arc::new(Mutex::new(Duration::ZERO));
    let cluster = {
        let (path, used) = (path.clone(), Arc::clone(&used));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let account = tokio::spawn(async move {
                    loop {
                        let now = clock_gettime(ClockId::ThreadCPUTime);
                        *used.lock().unwrap() = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                });
                rlvs_cluster::run(&path, Place::Socket(name), received).await.unwrap();
                account.abort();
            });
        })
    };
    let destinations = || {
        let table = table.lock().unwrap();
        table.services.values().map(|(_, destinations)| destinations.len()).sum::<usize>()
    };
    let all_up = until("all servers are used", || destinations() == servers as usize);
    let start = Instant::now();
    let before = *used.lock().unwrap();
    if measured.is_some() {
        std::thread::sleep(Duration::from_secs(30));
    } else {
        let often = || {
            let visits = visits.lock().unwrap();
            visits.len() == servers as usize && visits.values().all(|visits| visits.len() >= 5)
        };
        until("each server is checked five times", often);
    }
    let share = (*used.lock().unwrap() - before).as_secs_f64() / start.elapsed().as_secs_f64();

    let changes = table.lock().unwrap().changes;
    std::fs::write(&path, file(servers, port, interval, 7)).unwrap();
    orders.blocking_send(Order::Reload).unwrap();
    let heavier =
        || table.lock().unwrap().services.values().any(|(_, all)| all.iter().any(|d| d.weight == 7));
    let reload = until("the weight is changed", heavier);
    assert_eq!(table.lock().unwrap().changes, changes + 1);
    if measured.is_some() {
        report(&visits.lock().unwrap(), start, all_up, share, reload);
    }
    orders.blocking_send(Order::Stop).unwrap();
    cluster.join().unwrap();
    let _ended = stop_director.send(());
    director.join().unwrap();
    std::fs::remove_file(&path).unwrap();
}

/// The longest pause that is on time is the interval with all of its jitter.
fn report(
    visits: &HashMap<IpAddr, Vec<Instant>>,
    start: Instant,
    all_up: Duration,
    share: f64,
    reload: Duration,
) {
    let on_time = Duration::from_millis(2_200);
    let gaps = visits.values().flat_map(|visits| visits.windows(2));
    let gaps = gaps.filter(|pair| pair[0] >= start).map(|pair| pair[1] - pair[0]);
    let mut late: Vec<_> = gaps.map(|gap| gap.saturating_sub(on_time)).collect();
    late.sort();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    let within = late.iter().filter(|late| **late <= Duration::from_millis(100)).count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!(
        "{} servers, {} checks: {:.3} % within 100 ms, 99.9 % within {:?}, the latest {:?}; {:.0} % of a core; {memory} \
         (director and servers included); all up after {all_up:?}; reload of one weight {reload:?}",
        visits.len(),
        late.len(),
        within as f64 * 100.0 / late.len() as f64,
        at(0.999),
        at(1.0),
        share * 100.0,
    );
}
