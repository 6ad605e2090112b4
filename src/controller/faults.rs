//! Named points at which a test can have the process die, or stand still. Nothing of it is in a build without the feature `faults`.

/// A point that a test may name in `FAULT_POINT`: the process is killed when it gets there for the first time, or with
/// `/2` appended for the second, and the file named by `FAULT_FILE` says so, that the next process goes on. With
/// `FAULT_STOPS` it is not killed: it stands still, all of it, until it is sent SIGCONT.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    static SEEN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let (Ok(wanted), Ok(file)) = (std::env::var("FAULT_POINT"), std::env::var("FAULT_FILE")) else { return };
    let (wanted, time) = wanted.split_once('/').map_or((wanted.as_str(), 1), |(w, n)| (w, n.parse().unwrap_or(1)));
    if wanted == name
        && SEEN.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == time
        && std::fs::OpenOptions::new().write(true).create_new(true).open(file).is_ok()
    {
        if std::env::var_os("FAULT_STOPS").is_none() {
            std::process::abort();
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }
}

/// Nothing.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn point(_: &str) {}
