//! Takes the XDP objects that `cargo xtask build` has built into the crate; without them it builds, with empty ones.

use std::path::Path;
use std::{env, fs, io};

const OBJECTS: [&str; 2] = ["director.o", "decapsulate.o"];

fn main() -> io::Result<()> {
    // Relative to the package, where cargo runs this: a copied build folder must not lead back to the first one.
    let built = Path::new("../../target/bpf");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    for object in OBJECTS {
        let source = built.join(object);
        println!("cargo::rerun-if-changed={}", source.display());
        fs::write(Path::new(&out).join(object), fs::read(&source).unwrap_or_default())?;
    }
    Ok(())
}
