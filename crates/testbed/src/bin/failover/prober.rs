//! A question over UDP each millisecond, all by one socket: how long none was answered.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rlvs_testbed::Namespace;

const PERIOD: Duration = Duration::from_millis(1);

/// How long answers are waited for when no more is asked.
const LAST_ANSWER: Duration = Duration::from_millis(300);

/// Asks until it is stopped.
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Datagrams>>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagrams {
    /// Questions.
    pub sent: usize,
    /// Those of them without an answer.
    pub lost: usize,
    /// The longest time in which none was answered: from the first question that was lost to the next that was not.
    pub gap: Duration,
}

impl Prober {
    /// Asks the DNS server at `address`.
    pub fn start(client: &Namespace, address: IpAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = client.run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(SocketAddr::new(address, 53))?;
            socket.set_nonblocking(true)?;
            Ok(std::thread::Builder::new().name("prober".into()).spawn(move || ask(&socket, &stopped))?)
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub fn stop(self) -> Result<Datagrams> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the prober panicked"))?
    }
}

fn ask(socket: &UdpSocket, stop: &AtomicBool) -> Result<Datagrams> {
    let mut questions = Questions::default();
    while !stop.load(Ordering::Relaxed) {
        questions.ask(socket);
        std::thread::sleep(PERIOD);
        questions.hear(socket);
    }
    std::thread::sleep(LAST_ANSWER);
    questions.hear(socket);
    Ok(summary(&questions.asked))
}

#[derive(Default)]
struct Questions {
    /// When each was asked, and whether it was answered. A question's number modulo 65,536 is its identifier.
    asked: Vec<(Instant, bool)>,
}

impl Questions {
    fn ask(&mut self, socket: &UdpSocket) {
        let identifier = (self.asked.len() as u16).to_be_bytes();
        let question = b"\x01\0\0\x01\0\0\0\0\0\0\x06whoami\x04test\0\0\x10\0\x01";
        self.asked.push((Instant::now(), false));
        // What cannot be sent counts as lost.
        let _ = socket.send(&[&identifier[..], question].concat());
    }

    fn hear(&mut self, socket: &UdpSocket) {
        let mut answer = [0; 512];
        // Errors are those of packets that were refused on their way; what is not there yet comes later.
        while let Ok(length) = socket.recv(&mut answer) {
            if length > 2 {
                self.answered(u16::from_be_bytes([answer[0], answer[1]]));
            }
        }
    }

    fn answered(&mut self, identifier: u16) {
        let back = (self.asked.len() as u16).wrapping_sub(identifier);
        let number = self.asked.len().checked_sub(back.into());
        if let Some((_, answered)) = number.and_then(|number| self.asked.get_mut(number)) {
            *answered = true;
        }
    }
}

fn summary(asked: &[(Instant, bool)]) -> Datagrams {
    let mut gap = Duration::ZERO;
    let mut since = None;
    for (when, answered) in asked {
        match (answered, since) {
            (false, None) => since = Some(*when),
            (true, Some(start)) => {
                gap = gap.max(when.duration_since(start));
                since = None;
            }
            _ => {}
        }
    }
    if let (Some(start), Some((last, _))) = (since, asked.last()) {
        gap = gap.max(last.duration_since(start));
    }
    Datagrams { sent: asked.len(), lost: asked.iter().filter(|(_, answered)| !answered).count(), gap }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_found() {
        let start = Instant::now();
        let asked: Vec<_> = [true, false, true, false, false, true, false]
            .into_iter()
            .enumerate()
            .map(|(n, answered)| (start + PERIOD * n as u32, answered))
            .collect();
        assert_eq!(summary(&asked), Datagrams { sent: 7, lost: 4, gap: PERIOD * 2 });
        assert_eq!(summary(&asked[..1]), Datagrams { sent: 1, lost: 0, gap: Duration::ZERO });
        let silent = [(start, false), (start + PERIOD * 5, false)];
        assert_eq!(summary(&silent), Datagrams { sent: 2, lost: 2, gap: PERIOD * 5 });
    }

    #[test]
    fn identifiers_come_round_again() {
        let mut questions = Questions { asked: vec![(Instant::now(), false); 70_000] };
        questions.answered(65_535);
        questions.answered((69_999 % 65_536) as u16);
        let answered: Vec<_> = questions.asked.iter().enumerate().filter(|(_, asked)| asked.1).collect();
        assert_eq!(answered.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [65_535, 69_999]);
    }
}
