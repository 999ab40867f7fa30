//! Has Cargo build the stand-in, so that it is there for whatever uses the kit, and tells the kit
//! where it is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A static program runs in containers whose libc is older than this machine's.
const STATIC: &str = "-Ctarget-feature=+crt-static";

fn main() {
    println!("cargo::rerun-if-changed=standin");
    // Where the machine has no libc to link statically, there are no containers either.
    let is_built = build(&[STATIC]) || build(&[]);
    assert!(is_built, "the stand-in doesn't build");
    let standin = target_dir().join(variable("TARGET")).join("release");
    println!(
        "cargo::rustc-env=MFE_STANDIN={}",
        standin.join("mfe-standin").display()
    );
}

/// Builds it in a folder of its own: that of the build which this is part of is locked.
fn build(flags: &[&str]) -> bool {
    let manifest = Path::new(&variable("CARGO_MANIFEST_DIR")).join("standin/Cargo.toml");
    let status = Command::new(variable("CARGO"))
        .args(["rustc", "--quiet", "--locked", "--release"])
        .args(["--target", &variable("TARGET")])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target_dir())
        .arg("--")
        .args(flags)
        // What is meant for the whole build: lints, sanitizers, coverage.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .status();
    status.expect("cargo can't be run").success()
}

fn target_dir() -> PathBuf {
    Path::new(&variable("OUT_DIR")).join("standin")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
