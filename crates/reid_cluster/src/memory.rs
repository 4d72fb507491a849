//! Refuse work that cannot fit before it starts: a failed allocation would end the process.

use crate::{Error, Result};

/// What stays free for the work beside a large array: running out of memory aborts the process.
const SPARE: u128 = 1 << 28;

/// Refuse to allocate `bytes` for `what` when less, or hardly more, is free; where the system does not tell,
/// nothing is refused.
pub(crate) fn check(bytes: u128, what: &str, remedy: &str) -> Result<()> {
    match available() {
        Some(free) if bytes + bytes.min(SPARE) > u128::from(free) => Err(Error::TooLarge {
            what: what.to_owned(),
            gigabytes: bytes as f64 / 1e9,
            remedy: format!(
                "{:.1} GB are free for it and the work beside it; {remedy}",
                free as f64 / 1e9
            ),
        }),
        _ => Ok(()),
    }
}

/// Bytes this process can still take: the least that the machine, its control group and its own limit leave.
fn available() -> Option<u64> {
    [machine(), group(), own_limit()]
        .into_iter()
        .flatten()
        .min()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The number after `name` in a table of `name value` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

fn machine() -> Option<u64> {
    Some(field(&read("/proc/meminfo")?, "MemAvailable:")? * 1024)
}

fn group() -> Option<u64> {
    let limit: u64 = read("/sys/fs/cgroup/memory.max")?.trim().parse().ok()?;
    let used: u64 = read("/sys/fs/cgroup/memory.current")?.trim().parse().ok()?;
    // Files in the cache are given back when memory is asked for.
    let cache = field(&read("/sys/fs/cgroup/memory.stat")?, "inactive_file ").unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

fn own_limit() -> Option<u64> {
    let limit = field(&read("/proc/self/limits")?, "Max address space")?;
    Some(limit.saturating_sub(field(&read("/proc/self/status")?, "VmSize:")? * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_the_impossible_only() {
        assert!(check(1 << 20, "a megabyte", "").is_ok());
        if available().is_some() {
            let text = check(1 << 80, "the work", "use less")
                .unwrap_err()
                .to_string();
            assert!(
                text.contains("the work needs") && text.contains("use less"),
                "{text}"
            );
        }
    }

    #[test]
    fn reads_fields() {
        assert_eq!(field("A: 1 kB\nB:   22 kB\n", "B:"), Some(22));
        assert_eq!(
            field(
                "Max address space  unlimited  unlimited bytes",
                "Max address space"
            ),
            None
        );
    }
}
