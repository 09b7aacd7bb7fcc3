//! How a director starts: on a data plane of its own, or on one that it finds.

use super::ways::Patience;
use super::{Director, detach};
use crate::config::Config;
use crate::dataplane::{Attachments, DataPlane};
use crate::egress::{EgressTracker, Event, Interface, InterfaceEvent};
use crate::endings::Endings;
use crate::error::DirectorError;
use crate::local_out::{self, LocalOut};
use crate::registry::Registry;
use crate::settings;
use crate::sweeper::Sweeper;
use crate::sync::Synchronisation;
use crate::tables::Tables;
use crate::totals::Totals;
use aya::programs::SchedClassifier;
use rlvs_ipvs::SOCKET_NAME;
use rlvs_switch::order;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;

impl Director {
    pub(super) async fn start(config: &Config) -> Result<Director, DirectorError> {
        let (tracker, mut events) = EgressTracker::spawn().await?;
        let interfaces = first_interfaces(&mut events, &config.interfaces)?;
        let plane = DataPlane::open(config)?;
        let adopted = plane.adopted;
        match Self::take_up(config, plane, tracker, events, interfaces).await {
            Err(error) if !adopted => {
                // What was not there before is not left behind.
                if let Err(error) = detach().await {
                    tracing::warn!("{error}");
                }
                Err(error)
            }
            result => result,
        }
    }

    async fn take_up(
        config: &Config,
        mut plane: DataPlane,
        tracker: EgressTracker,
        events: UnboundedReceiver<Event>,
        interfaces: Vec<Interface>,
    ) -> Result<Director, DirectorError> {
        let tables = Arc::new(plane.tables);
        warn_of_other_sizes(&tables, config);
        if !plane.adopted {
            for (name, value) in &config.sysctl {
                // Checked when the file was read.
                let _accepted = settings::write(tables.settings(), name, &value.to_string());
            }
        }
        tokio::spawn(async {
            if let Err(error) = plane.early_fragments.run().await {
                tracing::warn!("fragments that come before the first of their packet are lost: {error}");
            }
        });
        tokio::spawn(async {
            if let Err(error) = plane.large_packets.run().await {
                tracing::warn!("packets that would have to leave in fragments are lost: {error}");
            }
        });
        let mut registry = Registry::new(Arc::clone(&tables), plane.service_index);
        registry.set_interfaces(interfaces.iter().map(|i| (i.name.clone(), i.index)).collect());
        registry.configure_marks(&config.marks);
        let local_out = if config.local {
            open_local_out(plane.local_out, &mut plane.attachments, &tables).await
        } else {
            local_out::remove().await?;
            None
        };
        let totals = Totals::new(&tables);
        let mut sync =
            Synchronisation::new(Arc::clone(&tables), plane.importer, plane.changes, &config.sync.peers);
        // A daemon that does not start, which is told, is tried again.
        let _told = sync.follow(&registry.daemons());
        let mut director = Director {
            endings: Endings::new(Arc::clone(&tables)),
            tables,
            registry,
            totals,
            events_counted: plane.events,
            samples: plane.samples,
            attachments: plane.attachments,
            local_out,
            sweeper: Sweeper::default(),
            tracker,
            events,
            sync,
            wanted: config.interfaces.clone(),
            interfaces: BTreeMap::new(),
            adopted: plane.adopted,
            unsettled: BTreeSet::new(),
            patience: Patience::new(Instant::now()),
        };
        if plane.adopted {
            let programs = if plane.same_programs { "the same programs" } else { "new programs" };
            let (services, destinations) = director.registry.size();
            tracing::info!(
                "adopted the data plane with {programs}, {services} services, {destinations} destinations"
            );
        }
        director.attach_at_start(interfaces)?;
        director.follow_local_out();
        director.tell_tracker();
        Ok(director)
    }

    pub(super) fn announce(&self) {
        let names: Vec<String> = self
            .attachments
            .all()
            .filter_map(|(index, mode)| Some(format!("{} ({mode})", self.interfaces.get(&index)?.name)))
            .collect();
        tracing::info!("ready: control socket @{SOCKET_NAME}, attached to {}", names.join(", "));
    }
}

/// Opens the way of the director's own packets into the switch; a director that cannot says so and goes on.
async fn open_local_out(
    program: SchedClassifier,
    attachments: &mut Attachments,
    tables: &Arc<Tables>,
) -> Option<LocalOut> {
    let opened = LocalOut::open(program, attachments, Arc::clone(tables)).await;
    opened.inspect_err(|error| tracing::warn!("what the director itself sends is not switched: {error}")).ok()
}

/// The interfaces that there are; those asked for must be among them.
fn first_interfaces(
    events: &mut UnboundedReceiver<Event>,
    wanted: &[String],
) -> Result<Vec<Interface>, DirectorError> {
    let mut first = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Interface(InterfaceEvent::Appeared(interface)) = event {
            first.push(interface);
        }
    }
    match wanted.iter().find(|name| !first.iter().any(|interface| interface.name == **name)) {
        Some(name) => Err(DirectorError::NoInterface { name: name.clone() }),
        None => Ok(first),
    }
}

/// Tables keep the sizes that they were made with.
fn warn_of_other_sizes(tables: &Tables, config: &Config) {
    let ways = rlvs_switch::table::WAYS as u32;
    for (name, is, asked) in [
        ("connections", (tables.settings().mask4.load(order::PLAIN) + 1) * ways, config.tables.connections),
        ("connections6", (tables.settings().mask6.load(order::PLAIN) + 1) * ways, config.tables.connections6),
        ("services", tables.services.all().len() as u32, config.tables.services),
        ("destinations", tables.destinations.all().len() as u32, config.tables.destinations),
    ] {
        if is != asked {
            tracing::warn!("tables.{name} stays {is}, not {asked}, until `rlvs detach` and a new start");
        }
    }
}
