//! Mark rules of the rlvs director.

use super::{Client, ClientError};
use crate::message::{Item, Request};
use crate::model::{MarkRule, MarkRuleEntry, MarkRuleId};

/// All of these fail with [`ClientError::NotOnKernel`] with the kernel's IPVS: netfilter has its rules.
impl Client {
    /// Adds a mark rule before that of a number, or after all.
    ///
    /// # Errors
    /// EEXIST if there is the same, ERANGE if there is none of this number, ENOSPC if there are too many.
    pub async fn new_mark_rule(&mut self, rule: MarkRule, before: Option<u32>) -> Result<(), ClientError> {
        self.change(Request::NewMarkRule { rule, before }).await
    }

    /// Deletes a mark rule.
    ///
    /// # Errors
    /// ENOENT if there is none such.
    pub async fn delete_mark_rule(&mut self, id: MarkRuleId) -> Result<(), ClientError> {
        self.change(Request::DeleteMarkRule(id)).await
    }

    /// The mark rules, the first first.
    pub async fn mark_rules(&mut self) -> Result<Vec<MarkRuleEntry>, ClientError> {
        self.all(Request::ListMarkRules, |item| match item {
            Item::MarkRule(entry) => Some(entry),
            _ => None,
        })
        .await
    }
}
