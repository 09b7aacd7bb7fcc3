//! Flags of schedulers: each scheduler has names of its own for the same three bits.

use rlvs_ipvs::ServiceFlags;

use super::failure::Failure;

/// Word, bit, scheduler that it belongs to ("" for all). A scheduler's own names stand first.
const NAMES: [(&str, ServiceFlags, &str); 7] = [
    ("sh-fallback", ServiceFlags::SCHED1, "sh"),
    ("sh-port", ServiceFlags::SCHED2, "sh"),
    ("mh-fallback", ServiceFlags::SCHED1, "mh"),
    ("mh-port", ServiceFlags::SCHED2, "mh"),
    ("flag-1", ServiceFlags::SCHED1, ""),
    ("flag-2", ServiceFlags::SCHED2, ""),
    ("flag-3", ServiceFlags::SCHED3, ""),
];

/// Reads a list of flags for a scheduler.
pub fn parse(list: &str, scheduler: &str) -> Result<ServiceFlags, Failure> {
    let mut flags = ServiceFlags::empty();
    for word in list.split(',').filter(|word| !word.is_empty()) {
        let Some((_, flag, owner)) = NAMES.iter().find(|(name, ..)| *name == word) else {
            return Err(Failure::Usage(format!("invalid scheduler flag `{word}'")));
        };
        if !owner.is_empty() && *owner != scheduler {
            return Err(Failure::Usage(format!("incompatible scheduler flag `{word}'")));
        }
        flags |= *flag;
    }
    Ok(flags)
}

/// The flags of a scheduler as -L and -S write them; `None` if none is set. Beside a scheduler's own names ipvsadm does
/// not write flag 3, which no scheduler uses, even if nothing is left to write.
pub fn written(flags: ServiceFlags, scheduler: &str) -> Option<String> {
    let mut names = names(flags, scheduler);
    if names.is_empty() {
        return None;
    }
    if NAMES.iter().any(|(_, _, owner)| *owner == scheduler) {
        names.retain(|name| *name != "flag-3");
    }
    Some(names.join(","))
}

fn names(flags: ServiceFlags, scheduler: &str) -> Vec<&'static str> {
    let bits = [ServiceFlags::SCHED1, ServiceFlags::SCHED2, ServiceFlags::SCHED3];
    let name =
        |bit| NAMES.iter().find(|(_, flag, owner)| *flag == bit && (*owner == scheduler || owner.is_empty()));
    bits.into_iter().filter(|bit| flags.contains(*bit)).filter_map(name).map(|row| row.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedulers_have_their_own_names() {
        let flags = |bits| ServiceFlags::from_bits_retain(bits);
        assert_eq!(parse("sh-port,sh-fallback,flag-3", "sh").unwrap(), flags(0x38));
        assert_eq!(parse(",flag-1,,", "rr").unwrap(), flags(0x08));
        assert!(
            matches!(parse("sh-port", "rr"), Err(Failure::Usage(t)) if t == "incompatible scheduler flag `sh-port'")
        );
        assert!(
            matches!(parse("zork", "rr"), Err(Failure::Usage(t)) if t == "invalid scheduler flag `zork'")
        );
        let cases = [
            (0x38, "sh", Some("sh-fallback,sh-port")),
            (0x20, "mh", Some("")),
            (0x18, "mh", Some("mh-fallback,mh-port")),
            (0x28, "rr", Some("flag-1,flag-3")),
            (0x05, "rr", None),
        ];
        for (bits, scheduler, names) in cases {
            assert_eq!(written(flags(bits), scheduler).as_deref(), names);
        }
    }
}
