//! The director as the cluster sees it: one that may go away and come back.

use rlvs_ipvs::{Client, ClientError, DestinationEntry, DestinationId, Errno, SOCKET_NAME, ServiceId};

use crate::plan::{Change, Setup};

/// Where the director is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this network namespace: rlvs, or else the kernel's IPVS. See [`Client::connect`].
    Here,
    /// rlvs, on an abstract socket of this name.
    Socket(String),
}

/// A connection that is made when it is needed.
#[derive(Debug)]
pub struct Director {
    place: Place,
    client: Option<Client>,
    /// The kernel has been asked for its module, in vain: that is not repeated each time.
    without_module: bool,
    /// It has been told that this director leaves connections alone.
    keeps_connections: bool,
}

impl Director {
    /// Not connected yet.
    pub fn new(place: Place) -> Self {
        Self { place, client: None, without_module: false, keeps_connections: false }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The services and destinations that it has.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn running(&mut self) -> Result<Vec<Setup>, ClientError> {
        let result = match self.client().await {
            Ok(client) => running(client).await,
            Err(error) => Err(error),
        };
        self.keep_unless_broken(result)
    }

    /// How many connections each destination of a service has.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn connections(
        &mut self,
        service: ServiceId,
    ) -> Result<Vec<(DestinationId, u32)>, ClientError> {
        let result = match self.client().await {
            Ok(client) => client.destinations(service).await,
            Err(error) => Err(error),
        };
        let count =
            |entry: DestinationEntry| (entry.destination.id, entry.active.saturating_add(entry.inactive));
        self.keep_unless_broken(result).map(|entries| entries.into_iter().map(count).collect())
    }

    /// Makes a change. What somebody else has done already is no error.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the director does not take it; others if it cannot be asked.
    pub async fn apply(&mut self, change: &Change) -> Result<(), ClientError> {
        let result = match self.client().await {
            Ok(client) => apply(client, change).await,
            Err(error) => Err(error),
        };
        let result = match (change, result) {
            // The kernel's IPVS, or an rlvs of an earlier version.
            (
                Change::End(id, server, _),
                Err(ClientError::NotOnKernel | ClientError::Refused(Errno::OPNOTSUPP)),
            ) => {
                if !std::mem::replace(&mut self.keeps_connections, true) {
                    tracing::warn!("this director cannot end connections of failed servers: they are kept");
                }
                self.delete(*id, *server).await
            }
            (_, result) => result,
        };
        self.keep_unless_broken(result)
    }

    async fn delete(&mut self, service: ServiceId, server: DestinationId) -> Result<(), ClientError> {
        apply(self.client().await?, &Change::Delete(service, server)).await
    }

    async fn client(&mut self) -> Result<&mut Client, ClientError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => match &self.place {
                Place::Here => self.connect_here().await?,
                Place::Socket(name) => Client::connect_rlvs(name).await?,
            },
        };
        Ok(self.client.insert(client))
    }

    async fn connect_here(&mut self) -> Result<Client, ClientError> {
        if self.without_module
            && let (Err(_), Err(_)) =
                (Client::connect_rlvs(SOCKET_NAME).await, Client::connect_kernel().await)
        {
            return Err(ClientError::NoDirector);
        }
        let client = Client::connect().await;
        self.without_module = matches!(client, Err(ClientError::NoDirector));
        client
    }

    fn keep_unless_broken<T>(&mut self, result: Result<T, ClientError>) -> Result<T, ClientError> {
        if !matches!(result, Ok(_) | Err(ClientError::Refused(_))) {
            self.client = None;
        }
        result
    }
}

async fn running(client: &mut Client) -> Result<Vec<Setup>, ClientError> {
    let mut all = Vec::new();
    for entry in client.services().await? {
        let destinations = client.destinations(entry.service.id).await?;
        let destinations = destinations.into_iter().map(|entry| entry.destination).collect();
        all.push(Setup { service: entry.service, destinations });
    }
    Ok(all)
}

async fn apply(client: &mut Client, change: &Change) -> Result<(), ClientError> {
    use ClientError::Refused;
    let change = change.clone();
    match change {
        Change::AddService(service) => match client.new_service(service.clone()).await {
            Err(Refused(Errno::EXIST)) => client.set_service(service).await,
            result => result,
        },
        Change::EditService(service, _) => client.set_service(service).await,
        Change::DeleteService(id) => match client.delete_service(id).await {
            Err(Refused(Errno::SRCH)) => Ok(()),
            result => result,
        },
        Change::Add(id, server) => match client.new_destination(id, server.clone()).await {
            Err(Refused(Errno::EXIST)) => client.set_destination(id, server).await,
            result => result,
        },
        Change::Edit(id, server, _) => match client.set_destination(id, server.clone()).await {
            Err(Refused(Errno::NOENT)) => client.new_destination(id, server).await,
            result => result,
        },
        Change::End(id, server, ending) => match client.end_destination(id, server, ending).await {
            Err(Refused(Errno::NOENT | Errno::SRCH)) => Ok(()),
            result => result,
        },
        Change::Delete(id, server) => match client.delete_destination(id, server).await {
            Err(Refused(Errno::NOENT | Errno::SRCH)) => Ok(()),
            result => result,
        },
    }
}
