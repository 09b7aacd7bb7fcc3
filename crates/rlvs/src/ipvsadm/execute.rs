//! Carries actions out.

use std::io::{BufRead, Write};

use rlvs_ipvs::{Client, ClientError, Info, ServiceEntry, ServiceId};

use super::action::{Action, List, Listed};
use super::address::Namer;
use super::failure::{During, Failure, reason};
use super::parse::parse;
use super::{connections, help, listing, order, save};

/// A run of ipvsadm: whom it talks to, and where its output goes.
pub struct Session<'a> {
    /// Name that we were called by.
    pub program: &'a str,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Connected when first needed: help and version need no director.
    director: Option<(Client, Info)>,
}

/// How a restore goes on after a line.
enum Next {
    Line,
    End,
}

impl<'a> Session<'a> {
    /// A run that has not begun.
    pub fn new(program: &'a str, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { program, out, err, director: None }
    }

    /// Carries out a command line; `input` is what -R reads. Gives the exit status if all that is to be said was said.
    pub async fn command(&mut self, words: &[String], input: &mut dyn BufRead) -> Result<u8, Failure> {
        match parse(self.program, words)? {
            Action::Restore => self.restore(input).await,
            action => self.act(action).await.map(|_| 0),
        }
    }

    /// Carries out the commands of a stream, a line each. As with ipvsadm, mistakes in a line end it, refusals
    /// do not, and the last line alone decides the exit status.
    pub async fn restore(&mut self, input: &mut dyn BufRead) -> Result<u8, Failure> {
        let mut status = 0;
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? != 0 {
            let text = String::from_utf8_lossy(&line);
            let words: Vec<String> =
                text.split_ascii_whitespace().filter(|word| *word != "ipvsadm").map(Into::into).collect();
            line.clear();
            if words.is_empty() {
                continue;
            }
            match self.line(&words).await {
                Ok(Next::Line) => status = 0,
                Ok(Next::End) => return Ok(0),
                Err(failure) if failure.lets_restore_go_on() => {
                    writeln!(self.err, "{failure}")?;
                    status = failure.status();
                }
                Err(failure) => return Err(failure),
            }
            self.out.flush()?;
        }
        Ok(status)
    }

    /// Carries out a line of a restore.
    async fn line(&mut self, words: &[String]) -> Result<Next, Failure> {
        match parse(self.program, words)? {
            Action::Restore => Err(Failure::NoCommand { program: self.program.into() }),
            action => self.act(action).await,
        }
    }

    async fn act(&mut self, action: Action) -> Result<Next, Failure> {
        match action {
            Action::Help => {
                write!(self.out, "{}{}", help::VERSION, help::usage(self.program))?;
                return Ok(Next::End);
            }
            Action::Version => {
                write!(self.out, "{}", help::VERSION)?;
                return Ok(Next::End);
            }
            Action::List(list) => self.list(list).await?,
            Action::Save { numeric } => self.save(numeric).await?,
            change => self.change(change).await?,
        }
        Ok(Next::Line)
    }

    async fn change(&mut self, action: Action) -> Result<(), Failure> {
        let (client, _) = self.director().await?;
        let (during, result) = match action {
            Action::AddService(s) => (During::AddService, client.new_service(s).await),
            Action::EditService(s) => (During::EditService, client.set_service(s).await),
            Action::DeleteService(id) => (During::FindService, client.delete_service(id).await),
            Action::Zero(id) => (During::FindService, client.zero(id).await),
            Action::AddServer(id, d) => (During::AddDestination, client.new_destination(id, d).await),
            Action::EditServer(id, d) => (During::FindDestination, client.set_destination(id, d).await),
            Action::DeleteServer(id, d) => (During::FindDestination, client.delete_destination(id, d).await),
            Action::Flush => (During::Other, client.flush().await),
            Action::SetTimeouts(t) => (During::Other, client.set_timeouts(t).await),
            Action::StartDaemon(d) => (During::StartDaemon, client.start_daemon(d).await),
            Action::StopDaemon(role) => (During::StopDaemon, client.stop_daemon(role).await),
            // Handled by the callers.
            Action::Restore | Action::Save { .. } | Action::List(_) | Action::Help | Action::Version => {
                return Ok(());
            }
        };
        result.map_err(|error| Failure::refused(during, error))
    }

    async fn list(&mut self, list: List) -> Result<(), Failure> {
        self.director().await?;
        let Some((client, info)) = &mut self.director else { return Ok(()) };
        let mut namer = Namer::new(list.numeric);
        match list.what {
            Listed::Connections { engine } => {
                connections::list(client, engine, &mut namer, self.out).await?;
            }
            Listed::Timeouts => {
                let timeouts = client.timeouts().await.map_err(|e| Failure::listing(During::Other, e))?;
                self.out.write_all(listing::timeouts(&timeouts).as_bytes())?;
            }
            Listed::Daemons => {
                for daemon in client.daemons().await.map_err(|e| Failure::listing(During::Other, e))? {
                    self.out.write_all(listing::daemon(&daemon).as_bytes())?;
                }
            }
            Listed::Services { only, format, exact, sorted } => {
                let entries = match only {
                    Some(id) => vec![one(client, id).await?],
                    None => {
                        self.out.write_all(listing::version(info).as_bytes())?;
                        all(client, sorted).await?
                    }
                };
                self.out.write_all(listing::titles(format).as_bytes())?;
                for entry in entries {
                    self.out.write_all(listing::service(&entry, format, exact, &mut namer).as_bytes())?;
                    let id = entry.service.id;
                    for destination in destinations(client, id, sorted).await? {
                        let line = listing::destination(&id, &destination, format, exact, &mut namer);
                        self.out.write_all(line.as_bytes())?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn save(&mut self, numeric: bool) -> Result<(), Failure> {
        self.director().await?;
        let Some((client, _)) = &mut self.director else { return Ok(()) };
        let mut namer = Namer::new(numeric);
        for entry in all(client, true).await? {
            self.out.write_all(save::service(&entry.service, &mut namer).as_bytes())?;
            let id = entry.service.id;
            for entry in destinations(client, id, true).await? {
                self.out.write_all(save::destination(&id, &entry.destination, &mut namer).as_bytes())?;
            }
        }
        Ok(())
    }

    /// The director: asked at once for its version, which shows whether it will talk to us at all.
    async fn director(&mut self) -> Result<&mut (Client, Info), Failure> {
        if self.director.is_none() {
            let mut client = Client::connect().await.map_err(|e| no_director(&e))?;
            let info = client.info().await.map_err(|e| no_director(&e))?;
            self.director = Some((client, info));
        }
        self.director.as_mut().ok_or_else(|| no_director(&ClientError::NoDirector))
    }
}

async fn one(client: &mut Client, id: ServiceId) -> Result<ServiceEntry, Failure> {
    client.service(id).await.map_err(|e| Failure::listing(During::FindService, e))
}

async fn all(client: &mut Client, sorted: bool) -> Result<Vec<ServiceEntry>, Failure> {
    let entries = client.services().await.map_err(|e| Failure::listing(During::Other, e))?;
    Ok(if sorted { order::services(entries) } else { entries })
}

async fn destinations(
    client: &mut Client,
    id: ServiceId,
    sorted: bool,
) -> Result<Vec<rlvs_ipvs::DestinationEntry>, Failure> {
    let entries = client.destinations(id).await.map_err(|e| Failure::listing(During::Other, e))?;
    Ok(if sorted { order::destinations(entries) } else { entries })
}

fn no_director(error: &ClientError) -> Failure {
    let mut text = format!(
        "Can't initialize ipvs: {}\n\
         Are you sure that IP Virtual Server is built in the kernel or as module?",
        reason(During::Other, error)
    );
    if let ClientError::NoDirector | ClientError::NotRunning { .. } = error {
        text += "\nNo rlvs director runs in this network namespace either; `rlvs run` starts one.";
    }
    Failure::NoDirector(text)
}

#[cfg(test)]
#[path = "execute_tests.rs"]
mod tests;
