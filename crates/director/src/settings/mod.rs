//! IPVS's sysctls (`net.ipv4.vs.*`), by their names there: which there are, where they are kept, what they take.
//!
//! All of them are words of the shared memory, so the next director finds them as they were. What concerns netfilter
//! (`conntrack`), the kernel's estimator threads (`est_*`) or its debugging is not among them.

mod value;

use rlvs_ipvs::Errno;
use rlvs_switch::cell::AtomicU32;
use rlvs_switch::config::{Config, Tick};
use rlvs_switch::order;

/// Names begin with this for sysctl(8).
pub const PREFIX: &str = "net.ipv4.vs.";

/// A sysctl: one number, or several.
struct Setting {
    name: &'static str,
    cells: &'static [fn(&Config) -> &AtomicU32],
    unit: Unit,
    /// Whether it may have these values.
    accepts: fn(&[i32]) -> bool,
}

/// How a value is kept.
#[derive(Clone, Copy)]
enum Unit {
    /// As it is shown.
    Same,
    /// Seconds, kept in ticks.
    Ticks,
}

/// Why a sysctl cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is none of this name.
    #[error("no such setting; `rlvs sysctl -a` lists them")]
    Unknown,
    /// The value is no number, or not one that it takes.
    #[error("not a value that it takes; rlvs-sysctl(8) has the ranges")]
    Value,
}

impl From<SettingError> for Errno {
    fn from(error: SettingError) -> Errno {
        match error {
            SettingError::Unknown => Errno::NOENT,
            SettingError::Value => Errno::INVAL,
        }
    }
}

macro_rules! settings {
    ($($name:literal = $unit:ident[$($($place:ident).+),+] $accepts:expr;)*) => {
        static ALL: &[Setting] = &[$(
            Setting {
                name: $name,
                cells: &[$(|config| &config.$($place).+),+],
                unit: Unit::$unit,
                accepts: $accepts,
            },
        )*];
    };
}

settings! {
    "am_droprate" = Same[director.am_droprate] any;
    "amemthresh" = Same[director.amemthresh] any;
    "backup_only" = Same[settings.backup_only] any;
    "cache_bypass" = Same[settings.cache_bypass] any;
    "conn_reuse_mode" = Same[settings.conn_reuse_mode] any;
    "drop_entry" = Same[director.drop_entry] is_mode;
    "drop_packet" = Same[director.drop_packet] is_mode;
    "expire_nodest_conn" = Same[settings.expire_nodest_conn] any;
    "expire_quiescent_template" = Same[settings.expire_quiescent_template] any;
    "ignore_tunneled" = Same[settings.ignore_tunneled] any;
    "lblc_expiration" = Ticks[settings.lblc_expiration] is_time;
    "lblcr_expiration" = Ticks[settings.lblcr_expiration] is_time;
    "nat_icmp_send" = Same[settings.nat_icmp_send] any;
    "pmtu_disc" = Same[settings.pmtu_disc] any;
    "run_estimation" = Same[director.run_estimation] any;
    "schedule_icmp" = Same[settings.schedule_icmp] any;
    "secure_tcp" = Same[director.secure_tcp] is_mode;
    "sloppy_sctp" = Same[settings.sloppy_sctp] any;
    "sloppy_tcp" = Same[settings.sloppy_tcp] any;
    // Replies are always routed as packets of the VIP: saying so is accepted, the opposite is refused.
    "snat_reroute" = Same[director.snat_reroute] |values| values != [0];
    "sync_persist_mode" = Same[director.sync_persist_mode] any;
    "sync_ports" = Same[director.sync_ports] |values| values[0] > 0 && values[0].count_ones() == 1;
    "sync_qlen_max" = Same[director.sync_qlen_max] |values| values[0] >= 0;
    "sync_refresh_period" = Same[director.sync_refresh_period] |values| values[0] >= 0;
    "sync_retries" = Same[director.sync_retries] is_mode;
    "sync_sock_size" = Same[director.sync_sock_size] any;
    "sync_threshold" = Same[director.sync_threshold, director.sync_period] is_threshold;
    "sync_version" = Same[director.sync_version] |values| (0..=1).contains(&values[0]);
}

fn any(_: &[i32]) -> bool {
    true
}

fn is_mode(values: &[i32]) -> bool {
    (0..=3).contains(&values[0])
}

fn is_threshold(values: &[i32]) -> bool {
    let (threshold, period) = (values[0], values[1]);
    threshold >= 0 && period >= 0 && (threshold < period || period == 0)
}

fn is_time(values: &[i32]) -> bool {
    u32::try_from(values[0]).is_ok_and(|seconds| Tick::in_seconds(seconds) < i32::MAX as u32)
}

/// All names, in alphabetical order, without [`PREFIX`].
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|setting| setting.name)
}

/// A value as text, as its file below /proc/sys shows it, without the newline.
pub fn read(config: &Config, name: &str) -> Result<String, SettingError> {
    Ok(value::format(&find(name)?.load(config)))
}

/// Changes a value; nothing is changed on error.
pub fn write(config: &Config, name: &str, text: &str) -> Result<(), SettingError> {
    let setting = find(name)?;
    let mut values = setting.load(config);
    setting.take(&mut values, text)?;
    for (cell, value) in setting.cells.iter().zip(values) {
        cell(config).store(setting.unit.keep(value), order::PLAIN);
    }
    Ok(())
}

/// Whether [`write()`] would succeed on fresh settings.
pub fn check(name: &str, text: &str) -> Result<(), SettingError> {
    let config = Config::default();
    config.set_defaults();
    write(&config, name, text)
}

fn find(name: &str) -> Result<&'static Setting, SettingError> {
    ALL.iter().find(|setting| setting.name == name).ok_or(SettingError::Unknown)
}

impl Setting {
    fn load(&self, config: &Config) -> Vec<i32> {
        self.cells.iter().map(|cell| self.unit.show(cell(config).load(order::PLAIN))).collect()
    }

    /// Replaces as many of the values as the text has.
    fn take(&self, values: &mut [i32], text: &str) -> Result<(), SettingError> {
        let new = value::parse(text).ok_or(SettingError::Value)?;
        values.get_mut(..new.len()).ok_or(SettingError::Value)?.copy_from_slice(&new);
        if (self.accepts)(values) { Ok(()) } else { Err(SettingError::Value) }
    }
}

impl Unit {
    fn keep(self, value: i32) -> u32 {
        match self {
            Unit::Same => value as u32,
            Unit::Ticks => Tick::in_seconds(value as u32),
        }
    }

    fn show(self, kept: u32) -> i32 {
        match self {
            Unit::Same => kept as i32,
            // Ticks are rounded up from seconds, and shorter.
            Unit::Ticks => Tick::to_seconds(kept) as i32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Config {
        let config = Config::default();
        config.set_defaults();
        config
    }

    #[test]
    fn defaults_are_ipvss() {
        let config = fresh();
        for (name, value) in [
            ("am_droprate", "10"),
            ("amemthresh", "1024"),
            ("conn_reuse_mode", "1"),
            ("drop_entry", "0"),
            ("lblc_expiration", "86400"),
            ("lblcr_expiration", "86400"),
            ("pmtu_disc", "1"),
            ("run_estimation", "1"),
            ("snat_reroute", "1"),
            ("sync_ports", "1"),
            ("sync_threshold", "3\t50"),
            ("sync_version", "1"),
        ] {
            assert_eq!(read(&config, name).unwrap(), value, "{name}");
        }
    }

    #[test]
    fn names_are_in_order_and_lead_to_cells_of_their_own() {
        let names: Vec<_> = names().collect();
        assert!(names.is_sorted());
        for name in &names {
            let config = fresh();
            let others = |config: &Config| {
                let others = names.iter().filter(|other| *other != name);
                others.map(|other| read(config, other).unwrap()).collect::<Vec<_>>()
            };
            let before = others(&config);
            write(&config, name, "1").unwrap();
            assert!(read(&config, name).unwrap().starts_with('1'), "{name}");
            assert_eq!(others(&config), before, "{name}");
        }
    }

    #[test]
    fn what_ipvs_refuses_is_refused_and_changes_nothing() {
        let config = fresh();
        for (name, text) in [
            ("drop_entry", "4"),
            ("drop_packet", "-1"),
            ("lblc_expiration", "-1"),
            ("lblcr_expiration", "2147483647"),
            ("secure_tcp", "4"),
            ("sync_threshold", "50 50"),
            ("sync_threshold", "50 3"),
            ("sync_threshold", "-1 5"),
            ("sync_threshold", "1 2 3"),
            ("sync_version", "2"),
            ("sync_ports", "3"),
            ("sync_ports", "0"),
            ("sync_retries", "4"),
            ("snat_reroute", "0"),
            ("pmtu_disc", "yes"),
            ("pmtu_disc", ""),
        ] {
            let before = read(&config, name).unwrap();
            assert_eq!(write(&config, name, text), Err(SettingError::Value), "{name} = {text}");
            assert_eq!(read(&config, name).unwrap(), before);
        }
        assert_eq!(write(&config, "conntrack", "1"), Err(SettingError::Unknown));
    }

    #[test]
    fn seconds_stay_what_they_are_in_ticks() {
        let config = fresh();
        for seconds in (0..1000).chain([86_399, 100_000_000]) {
            write(&config, "lblc_expiration", &seconds.to_string()).unwrap();
            assert_eq!(read(&config, "lblc_expiration").unwrap(), seconds.to_string());
        }
    }

    #[test]
    fn a_list_takes_its_first_values_alone() {
        let config = fresh();
        write(&config, "sync_threshold", " 7\n").unwrap();
        assert_eq!(read(&config, "sync_threshold").unwrap(), "7\t50");
        write(&config, "sync_threshold", "9 0").unwrap();
        assert_eq!(read(&config, "sync_threshold").unwrap(), "9\t0");
    }
}
