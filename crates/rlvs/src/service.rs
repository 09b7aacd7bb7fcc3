//! What a service manager (systemd, or one that does as it does) wants to hear: sd_notify(3).

use std::future::pending;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{sleep, timeout};

/// How soon something that does not answer yet is asked again.
const SOON: Duration = Duration::from_millis(20);

/// Says that the service is ready when `answers` is true for the first time, and then, if the service manager has a watchdog, that
/// it is alive, as long as it is. Never ends.
pub async fn report(answers: impl AsyncFn() -> bool) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return pending().await;
    }
    while !answers().await {
        sleep(SOON).await;
    }
    tell(&[NotifyState::Ready]);
    let Some(limit) = sd_notify::watchdog_enabled() else { return pending().await };
    loop {
        // An answer that is late is none.
        if timeout(limit / 2, answers()).await.unwrap_or(false) {
            tell(&[NotifyState::Watchdog]);
        }
        sleep(limit / 4).await;
    }
}

/// Says that the service ends because it was told to.
pub fn ends() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // Where there is none to tell, this does nothing.
    if let Err(reason) = sd_notify::notify(state) {
        tracing::warn!("the service manager does not listen: {reason}");
    }
}
