//! What chains of rules come to.
//!
//! In netfilter a packet goes through all rules of its chains, each may set the mark anew, and a verdict ends the chain.
//! Here the first rule that matches decides. So the last rule that sets a mark goes first, and a verdict becomes rules
//! of its own: for packets that it matches, what was set up to there.

use super::Problem;
use anyhow::{Result, bail};
use rlvs_director::MARK_RULES_MAX;
use rlvs_ipvs::MarkRule;

/// Rules that are more than this in between will hardly come to few.
const MOST: usize = 4 * MARK_RULES_MAX;

/// Chains being translated, in the order in which packets pass them.
#[derive(Default)]
pub struct Chains {
    /// What was set up to here, the first match first, for packets that are still in the chain.
    set: Vec<MarkRule>,
    /// The same for packets that have left it.
    left: Vec<MarkRule>,
    problems: Vec<Problem>,
    /// Verdicts that could not be translated: nothing is lost unless a mark is set after them.
    pending: Vec<Problem>,
}

impl Chains {
    /// Packets that match any of these get a mark.
    pub fn mark(&mut self, mark: u32, packets: &[MarkRule]) {
        self.problems.append(&mut self.pending);
        let marked = packets.iter().map(|rule| MarkRule { mark, ..rule.clone() });
        self.set.splice(0..0, marked);
    }

    /// Packets that match any of these leave the chain.
    pub fn leave(&mut self, packets: &[MarkRule]) {
        for packets in packets {
            let unmarked = MarkRule { mark: 0, ..packets.clone() };
            let marked = self.set.iter().filter_map(|rule| intersection(packets, rule));
            self.left.extend(marked.take(MOST));
            self.left.push(unmarked);
        }
    }

    /// Some packets leave the chain, but it cannot be said which.
    pub fn leave_somehow(&mut self, place: String, reason: &str) {
        let reason = format!("packets leave the chain before marks are set: {reason}");
        self.pending.push(Problem { place, reason });
    }

    /// The chain ends.
    pub fn end(&mut self) {
        self.pending.clear();
        self.left.append(&mut self.set);
        self.set = std::mem::take(&mut self.left);
    }

    /// A rule outside of these chains sets marks.
    pub fn outside(&mut self, place: String, reason: String) {
        self.problems.push(Problem { place, reason });
    }

    /// A rule of the chain could not be translated.
    pub fn problem(&mut self, place: String, reason: String) {
        self.problems.append(&mut self.pending);
        self.problems.push(Problem { place, reason });
    }

    /// Whether more rules than can be come of this.
    pub fn is_too_long(&self) -> bool {
        self.set.len() + self.left.len() > MOST
    }

    /// The rules, and what could not be translated.
    pub fn finish(mut self) -> Result<(Vec<MarkRule>, Vec<Problem>)> {
        self.end();
        let mut rules: Vec<MarkRule> = Vec::new();
        for rule in self.set {
            // Whatever a rule before it takes as a whole never gets here.
            if !rules.iter().any(|before| intersection(before, &rule).as_ref() == Some(&rule)) {
                rules.push(rule);
            }
        }
        while rules.last().is_some_and(|rule| rule.mark == 0) {
            rules.pop();
        }
        if rules.len() > MARK_RULES_MAX {
            bail!("it comes to {} mark rules, and there can be {MARK_RULES_MAX}", rules.len());
        }
        Ok((rules, self.problems))
    }
}

/// Packets that match both, with the mark of `other`; `None` if there can be none.
pub fn intersection(one: &MarkRule, other: &MarkRule) -> Option<MarkRule> {
    fn both<T: Clone>(
        a: &Option<T>,
        b: &Option<T>,
        meet: impl FnOnce(&T, &T) -> Option<T>,
    ) -> Option<Option<T>> {
        match (a, b) {
            (Some(a), Some(b)) => meet(a, b).map(Some),
            (a, b) => Some(a.clone().or_else(|| b.clone())),
        }
    }
    fn equal<T: Clone + PartialEq>(a: &T, b: &T) -> Option<T> {
        (a == b).then(|| a.clone())
    }
    let rule = MarkRule {
        mark: other.mark,
        family: both(&one.family, &other.family, equal)?,
        protocol: both(&one.protocol, &other.protocol, equal)?,
        source: both(&one.source, &other.source, |a, b| a.intersection(*b))?,
        destination: both(&one.destination, &other.destination, |a, b| a.intersection(*b))?,
        source_ports: both(&one.source_ports, &other.source_ports, |a, b| a.intersection(*b))?,
        destination_ports: both(&one.destination_ports, &other.destination_ports, |a, b| a.intersection(*b))?,
        interface: both(&one.interface, &other.interface, equal)?,
    };
    rule.checked().ok()
}

/// Packets that match one of each: a rule's conditions, each with its alternatives.
///
/// # Errors
///
/// If that would be more rules than there can be.
pub fn all_of(conditions: &[Vec<MarkRule>]) -> Result<Vec<MarkRule>, String> {
    let mut packets = vec![MarkRule::default()];
    for alternatives in conditions {
        if packets.len() * alternatives.len() > MARK_RULES_MAX {
            return Err(format!("it takes more than {MARK_RULES_MAX} mark rules"));
        }
        packets =
            packets.iter().flat_map(|p| alternatives.iter().filter_map(|a| intersection(p, a))).collect();
    }
    Ok(packets)
}
