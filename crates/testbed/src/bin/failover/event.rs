//! What happens, and is measured.

use std::time::{Duration, Instant};

use anyhow::Result;
use rlvs_testbed::Side;
use rustix::process::Signal;

use crate::load::{Load, Noticed};
use crate::scene::Scene;

/// How long the client has worked before.
const BEFORE: Duration = Duration::from_secs(1);

/// How long a failure lasts that is mended while the client works.
const FAILURE: Duration = Duration::from_secs(3);

/// An event. They follow each other in the order of [`Event::ALL`]: some begin with what another one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    Nothing,
    /// The active director's process is killed, and started again.
    ProcessKilled,
    /// The active director loses its power.
    PowerLost,
    /// It comes back, and takes over.
    Return,
    /// It hands over: `rlvs cluster` is ended.
    CleanStop,
    /// It is started again, and takes over.
    CleanStart,
    /// Power is lost where nobody takes over from a living master.
    PowerLostWithoutPreemption,
    /// It comes back, and does not take over.
    ReturnWithoutPreemption,
    /// The directors do not hear each other for a while.
    SplitBrain,
    /// A real server's program is killed.
    ServerKilled,
    /// It accepts connections and never answers.
    ServerHung,
    /// It stands still for three quarters of the time.
    ServerSlow,
    /// It works and hangs in turns.
    ServerFlapping,
}

impl Event {
    /// All, in an order that leads from each to the next.
    pub const ALL: [Self; 13] = [
        Self::Nothing,
        Self::ProcessKilled,
        Self::PowerLost,
        Self::Return,
        Self::CleanStop,
        Self::CleanStart,
        Self::ServerKilled,
        Self::ServerHung,
        Self::ServerSlow,
        Self::ServerFlapping,
        Self::SplitBrain,
        Self::PowerLostWithoutPreemption,
        Self::ReturnWithoutPreemption,
    ];

    /// In the table's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::ProcessKilled => "director's process killed and started again",
            Self::PowerLost => "active director without power",
            Self::Return => "it returns, with preemption",
            Self::CleanStop => "active director stopped",
            Self::CleanStart => "it starts again",
            Self::PowerLostWithoutPreemption => "active director without power, no preemption",
            Self::ReturnWithoutPreemption => "it returns, without preemption",
            Self::SplitBrain => "directors apart for 3 s, and together again",
            Self::ServerKilled => "real server killed",
            Self::ServerHung => "real server hung",
            Self::ServerSlow => "real server slow",
            Self::ServerFlapping => "real server flapping",
        }
    }

    /// Who is master before it.
    pub fn master(self) -> Side {
        match self {
            Self::Return | Self::CleanStart | Self::ReturnWithoutPreemption => Side::Second,
            _ => Side::First,
        }
    }

    /// Lets it happen while a client works.
    pub fn measure(self, scene: &mut Scene) -> Result<Noticed> {
        if self == Self::PowerLostWithoutPreemption {
            scene.set_preempt(false)?;
            std::thread::sleep(BEFORE);
        }
        let load = Load::start(scene.client())?;
        std::thread::sleep(BEFORE);
        let out = self.happen(scene)?;
        let noticed = load.finish()?;
        self.mend(scene)?;
        Ok(Noticed { out, ..noticed })
    }

    /// When the server that fails was out of the table.
    fn happen(self, scene: &mut Scene) -> Result<Option<Duration>> {
        match self {
            Self::Nothing => {}
            Self::ProcessKilled => {
                scene.pair.crash_director(Side::First)?;
                std::thread::sleep(BEFORE);
                scene.pair.start_director(Side::First)?;
            }
            Self::PowerLost | Self::PowerLostWithoutPreemption => scene.pair.power(Side::First, false)?,
            Self::Return | Self::ReturnWithoutPreemption => scene.pair.power(Side::First, true)?,
            Self::CleanStop => scene.stop_cluster(Side::First)?,
            Self::CleanStart => scene.start_cluster(Side::First)?,
            Self::SplitBrain => {
                scene.pair.part(true)?;
                std::thread::sleep(FAILURE);
                scene.pair.part(false)?;
            }
            Self::ServerKilled => {
                scene.first_server().signal(Signal::KILL)?;
                return until_out(scene);
            }
            Self::ServerHung => {
                scene.first_server().signal(Signal::STOP)?;
                return until_out(scene);
            }
            Self::ServerSlow => take_turns(scene, Duration::from_millis(50), Duration::from_millis(150))?,
            Self::ServerFlapping => take_turns(scene, BEFORE, BEFORE)?,
        }
        Ok(None)
    }

    fn mend(self, scene: &mut Scene) -> Result<()> {
        match self {
            Self::ServerKilled => scene.start_first_server(),
            Self::ServerHung => scene.first_server().signal(Signal::CONT),
            _ => Ok(()),
        }
    }
}

fn until_out(scene: &Scene) -> Result<Option<Duration>> {
    let start = Instant::now();
    while start.elapsed() < FAILURE {
        if !scene.has_first_server()? {
            return Ok(Some(start.elapsed()));
        }
    }
    Ok(None)
}

fn take_turns(scene: &mut Scene, works: Duration, hangs: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < FAILURE {
        scene.first_server().signal(Signal::STOP)?;
        std::thread::sleep(hangs);
        scene.first_server().signal(Signal::CONT)?;
        std::thread::sleep(works);
    }
    Ok(())
}
