//! Carries actions out.

use std::io::{BufRead, Write};

use rlvs_ipvs::{Client, ClientError, Info, Request, ServiceEntry, ServiceId};

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

/// Lines of a restore that are carried out together at most.
const PUT_OFF: usize = 256;

/// A restore that has begun.
#[derive(Default)]
struct Restore {
    /// What came last and is yet to be carried out.
    put_off: Vec<(During, Request)>,
    /// That of the last line that was.
    status: u8,
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
        let mut restore = Restore::default();
        let mut text = Vec::new();
        loop {
            // Whoever writes it piece by piece finds each piece carried out before the next one is waited for.
            let piece = input.fill_buf()?;
            let (length, is_end) = (piece.len(), piece.is_empty());
            text.extend_from_slice(piece);
            input.consume(length);
            let end = if is_end { Some(text.len()) } else { text.iter().rposition(|b| *b == b'\n') };
            for line in text.drain(..end.unwrap_or(0)).collect::<Vec<u8>>().split(|b| *b == b'\n') {
                if let Next::End = self.line(line, &mut restore).await? {
                    return Ok(0);
                }
            }
            self.catch_up(&mut restore).await?;
            if is_end {
                return Ok(restore.status);
            }
        }
    }

    /// Carries out a line of a restore, or puts it off for others to go along with it.
    async fn line(&mut self, line: &[u8], restore: &mut Restore) -> Result<Next, Failure> {
        let text = String::from_utf8_lossy(line);
        let words: Vec<String> =
            text.split_ascii_whitespace().filter(|word| *word != "ipvsadm").map(Into::into).collect();
        if words.is_empty() {
            return Ok(Next::Line);
        }
        let other = match parse(self.program, &words).map(change) {
            Ok(Ok(change)) => {
                restore.put_off.push(change);
                if restore.put_off.len() >= PUT_OFF {
                    self.catch_up(restore).await?;
                }
                return Ok(Next::Line);
            }
            Ok(Err(Action::Restore)) => Err(Failure::NoCommand { program: self.program.into() }),
            Ok(Err(action)) => Ok(action),
            Err(failure) => Err(failure),
        };
        self.catch_up(restore).await?;
        let done = match other {
            Ok(action) => self.act(action).await,
            Err(failure) => Err(failure),
        };
        match done {
            Err(failure) if failure.lets_restore_go_on() => self.complain(&failure, restore)?,
            Err(failure) => return Err(failure),
            Ok(Next::End) => return Ok(Next::End),
            Ok(Next::Line) => restore.status = 0,
        }
        self.out.flush()?;
        Ok(Next::Line)
    }

    /// Carries out what was put off.
    async fn catch_up(&mut self, restore: &mut Restore) -> Result<(), Failure> {
        if restore.put_off.is_empty() {
            return Ok(());
        }
        let (during, requests): (Vec<During>, Vec<Request>) = restore.put_off.drain(..).unzip();
        let (client, _) = self.director().await?;
        let answers = match client.make(&requests).await {
            Ok(answers) => answers,
            // The connection to the director broke.
            Err(error) => return self.complain(&Failure::refused(During::Other, error), restore),
        };
        for (during, answer) in during.into_iter().zip(answers) {
            match answer {
                Ok(()) => restore.status = 0,
                Err(errno) => {
                    self.complain(&Failure::refused(during, ClientError::Refused(errno)), restore)?;
                }
            }
        }
        Ok(())
    }

    /// Says what is wrong with a line, after which the restore goes on.
    fn complain(&mut self, failure: &Failure, restore: &mut Restore) -> Result<(), Failure> {
        writeln!(self.err, "{failure}")?;
        restore.status = failure.status();
        Ok(())
    }

    async fn act(&mut self, action: Action) -> Result<Next, Failure> {
        let other = match change(action) {
            Ok((during, request)) => {
                let (client, _) = self.director().await?;
                let answers = client.make(&[request]).await.map_err(|e| Failure::refused(during, e))?;
                let refused = answers.into_iter().find_map(Result::err).map(ClientError::Refused);
                return refused.map_or(Ok(Next::Line), |error| Err(Failure::refused(during, error)));
            }
            Err(other) => other,
        };
        match other {
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
            // Carried out above, or by the callers.
            _ => {}
        }
        Ok(Next::Line)
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

/// What the director is asked for, if the action changes something; else the action.
fn change(action: Action) -> Result<(During, Request), Action> {
    Ok(match action {
        Action::AddService(s) => (During::AddService, Request::NewService(s)),
        Action::EditService(s) => (During::EditService, Request::SetService(s)),
        Action::DeleteService(id) => (During::FindService, Request::DeleteService(id)),
        Action::Zero(id) => (During::FindService, Request::Zero(id)),
        Action::AddServer(id, d) => (During::AddDestination, Request::NewDestination(id, Ok(d))),
        Action::EditServer(id, d) => (During::FindDestination, Request::SetDestination(id, Ok(d))),
        Action::DeleteServer(id, d) => (During::FindDestination, Request::DeleteDestination(id, Ok(d))),
        Action::Flush => (During::Other, Request::Flush),
        Action::SetTimeouts(t) => (During::Other, Request::SetTimeouts(t)),
        Action::StartDaemon(d) => (During::StartDaemon, Request::NewDaemon(d)),
        Action::StopDaemon(role) => (During::StopDaemon, Request::DeleteDaemon(role)),
        Action::Restore | Action::Save { .. } | Action::List(_) | Action::Help | Action::Version => {
            return Err(action);
        }
    })
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
