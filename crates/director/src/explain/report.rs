//! The answer, as it grows.

use rlvs_ipvs::{Detail, Finding, Value};

/// Findings in the order in which the switch comes to them.
#[derive(Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    /// Adds a finding.
    pub(super) fn say<const N: usize>(
        &mut self,
        subject: &str,
        text: impl Into<String>,
        details: [(&str, Value); N],
    ) {
        let details = details.map(|(name, value)| Detail { name: name.into(), value }).into();
        self.0.push(Finding { subject: subject.into(), text: text.into(), details });
    }

    /// Whether something was said about this.
    pub(super) fn mentions(&self, subject: &str) -> bool {
        self.0.iter().any(|finding| finding.subject == subject)
    }

    /// All of them.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.0
    }
}
