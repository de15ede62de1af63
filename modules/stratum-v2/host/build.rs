//! Makes the client half of the contract from `proto/`, without protoc: protox parses, tonic-prost-build writes.

use std::error::Error;
use std::path::{Path, PathBuf};

/// The contract, seen from this crate.
const PROTO: &str = "../../../proto";
/// The packages that a module speaks; `modhost/admin` is the operator's and out of reach for modules.
const PACKAGES: [&str; 2] = ["modhost/v1", "modhost/event/v1"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(PROTO);
    let mut files: Vec<PathBuf> = Vec::new();
    for package in PACKAGES {
        let folder = root.join(package);
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "proto")
            {
                files.push(path);
            }
        }
    }
    // the order of a folder is the file system's; the same input is to give the same output
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
