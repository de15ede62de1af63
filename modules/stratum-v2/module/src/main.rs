//! The program `stratum-v2`: connects what the library of this crate does with the host that started it.

mod adapters;
mod handler;
mod offers;
mod report;
mod templates;
mod wiring;

use std::process::ExitCode;

/// Worker threads at most: miners cost little, and the threads count against the module's limit of processes.
const MAX_WORKERS: usize = 4;
/// Exit code of a program that was started by hand: EX_USAGE of sysexits.h.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(MAX_WORKERS))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(wiring::run()) {
        Ok(()) => ExitCode::SUCCESS,
        // the host captures stderr: this is what the operator reads beside the exit code
        Err(failure) => {
            eprintln!("{failure}");
            match failure {
                wiring::Failure::Host(error) if error.reason == host::Reason::NotStartedByHost => {
                    ExitCode::from(EXIT_USAGE)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}
