//! What a command line asks for, checked and typed.

use rlvs_ipvs::{Daemon, DaemonRole, Destination, DestinationId, Service, ServiceId, Timeouts};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// -A
    AddService(Service),
    /// -E
    EditService(Service),
    /// -D
    DeleteService(ServiceId),
    /// -C
    Flush,
    /// -R
    Restore,
    /// -S
    Save {
        /// Without names.
        numeric: bool,
    },
    /// -a
    AddServer(ServiceId, Destination),
    /// -e
    EditServer(ServiceId, Destination),
    /// -d
    DeleteServer(ServiceId, DestinationId),
    /// -L
    List(List),
    /// -Z
    Zero(Option<ServiceId>),
    /// --set
    SetTimeouts(Timeouts),
    /// --start-daemon
    StartDaemon(Daemon),
    /// --stop-daemon
    StopDaemon(DaemonRole),
    /// -h
    Help,
    /// -v
    Version,
}

/// A listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// Of what.
    pub what: Listed,
    /// Without names.
    pub numeric: bool,
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Services and their destinations.
    Services {
        /// One, or all.
        only: Option<ServiceId>,
        /// Which columns.
        format: Format,
        /// Large numbers in full.
        exact: bool,
        /// In order of address, else in the director's.
        sorted: bool,
    },
    /// The connection table.
    Connections {
        /// With what persistence engines know.
        engine: bool,
    },
    /// Timeouts.
    Timeouts,
    /// Sync daemons.
    Daemons,
}

/// Columns of a listing of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Method, weight, connections.
    Plain,
    /// Counters.
    Stats,
    /// Rates.
    Rate,
    /// Thresholds and connections.
    Thresholds,
    /// Weight, templates, connections.
    PersistentConn,
    /// As plain, with the encapsulation.
    TunInfo,
}
