//! Named points at which a test can have the process die. Nothing of it is in a build without the feature `faults`.

/// A point that a test may name in `FAULT_POINT`: the process is killed when it gets there for the first time, and
/// the file named by `FAULT_FILE` says so, that the next process goes on.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    let (Ok(wanted), Ok(file)) = (std::env::var("FAULT_POINT"), std::env::var("FAULT_FILE")) else { return };
    if wanted == name && std::fs::OpenOptions::new().write(true).create_new(true).open(file).is_ok() {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn point(_: &str) {}
