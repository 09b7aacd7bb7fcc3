//! Programs of the operator: run without the capabilities that this process has, or as somebody else.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use tokio::sync::oneshot;

use crate::config::RunAs;

/// Does some work in a thread of its own, which has given up first what programs are not to have: they have no more than the
/// thread that starts them. The work is given up, too, when this is dropped.
///
/// # Errors
/// Those of the kernel: there is no thread, or it cannot become who it is to be.
pub(crate) async fn run<T: Send + 'static>(
    run_as: &RunAs,
    work: impl Future<Output = io::Result<T>> + Send + 'static,
) -> io::Result<T> {
    let (mut asker, result) = oneshot::channel();
    let run_as = run_as.clone();
    std::thread::Builder::new().name("program".into()).spawn(move || {
        let alone = || {
            become_that(&run_as)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    done = work => done,
                    () = asker.closed() => Err(io::ErrorKind::Interrupted.into()),
                }
            })
        };
        let done = alone();
        let _asker_has_left = asker.send(done);
    })?;
    result.await.unwrap_or_else(|_| Err(io::Error::other("the thread for it ended")))
}

/// For the calling thread only: the kernel knows no other way, and the C library, which does it for all, is not asked.
fn become_that(run_as: &RunAs) -> io::Result<()> {
    if let Some(account) = &run_as.user {
        let groups: Vec<_> = account.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let (user, group) = (Uid::from_raw(account.user), Gid::from_raw(account.group));
        set_thread_groups(&groups)?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
    }
    if run_as.keep_capabilities {
        return Ok(());
    }
    // Even if it is root's, a program gets no more than there is here then (capabilities(7)).
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}
