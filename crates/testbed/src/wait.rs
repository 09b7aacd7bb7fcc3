//! Waiting for something that will happen, but not for ever.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks `probe` every few milliseconds until it has an answer.
///
/// # Errors
///
/// Those of `probe`, at once; and when there is no answer after `limit`.
pub fn until<T>(limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("still not after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks `probe` until it succeeds; its errors mean "not yet", and the last one is told when `limit` passes.
///
/// # Errors
///
/// The last error of `probe`.
pub fn until_ok<T>(limit: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(answer) => return Ok(answer),
            Err(error) if start.elapsed() > limit => {
                return Err(error.context(format!("still not after {limit:?}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_the_wait() {
        let mut left = 3;
        let answer = until(Duration::from_secs(5), || {
            left -= 1;
            Ok((left == 0).then_some("done"))
        });
        assert_eq!(answer.unwrap(), "done");
    }

    #[test]
    fn the_last_error_is_told() {
        let error = until_ok::<()>(Duration::from_millis(20), || bail!("port closed")).unwrap_err();
        assert!(format!("{error:#}").contains("port closed"), "{error:#}");
        assert!(until::<()>(Duration::from_millis(20), || Ok(None)).is_err());
    }
}
