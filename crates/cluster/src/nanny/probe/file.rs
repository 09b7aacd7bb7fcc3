//! A file says whether a server is to be used.

use super::{Failure, Target};
use crate::config::Watch;

/// More is no number.
const LONGEST: usize = 64;

/// Success is that there is a file, or that there is none. With `weigh` its content is the weight.
pub(super) async fn probe(target: &Target, file: &Watch) -> Result<Option<i32>, Failure> {
    let path = target.filled_in(&file.path);
    let there = match tokio::fs::try_exists(&path).await {
        Ok(there) => there,
        Err(reason) => return Err(Failure::File(format!("cannot look at {path}: {reason}"))),
    };
    if there != file.exists {
        return Err(Failure::File(format!("there is {} {path}", if there { "a file" } else { "no file" })));
    }
    if !file.weigh {
        return Ok(None);
    }
    let unreadable = |reason| Failure::File(format!("cannot read {path}: {reason}"));
    let text = tokio::fs::read_to_string(&path).await.map_err(unreadable)?;
    let text = text.trim();
    match text.parse() {
        Ok(weight @ 0..) => Ok(Some(weight)),
        _ => {
            let text: String = text.chars().take(LONGEST).collect();
            Err(Failure::File(format!("{path} has {text:?}, no weight")))
        }
    }
}
