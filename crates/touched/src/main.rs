//! Prints what the switch touches for a packet of each path, in a simulation: look-ups in maps, and cache lines of what is not the same for
//! all packets. To be built with `--cfg counted`, as `cargo xtask touched` does; else it says so.
#![forbid(unsafe_code)]

#[cfg(counted)]
mod path;

#[cfg(counted)]
fn main() {
    print!("{}", path::toml());
}

#[cfg(not(counted))]
fn main() -> std::process::ExitCode {
    eprintln!("touched: built without `--cfg counted`: run `cargo xtask touched`");
    std::process::ExitCode::FAILURE
}
