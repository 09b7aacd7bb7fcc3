//! The loaded XDP programs, packet in, packet out (BPF_PROG_TEST_RUN), beside the same switch in its home on any
//! machine: both must do the same to each packet, to the octet, and count the same.
#![cfg(feature = "privileged-tests")]
#![allow(clippy::unwrap_used, reason = "helpers of tests; what does not hold here is a failed test")]

mod bypass;
mod calls;
mod concurrency;
mod control;
mod defence;
mod ends;
mod explain;
mod forwarding;
mod ftp;
mod lab;
mod large;
mod look_up;
mod refusals;
mod scheduling;
mod stream;
mod sweeping;
mod taken_over;
mod uncommon;
