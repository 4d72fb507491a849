//! What a kernel gets from its caller: worker threads, the question "go on?", and a place to report progress.

use std::ops::Range;

use crate::{Error, Result};

/// Threads, interruption and progress of one call.
///
/// The pool belongs to the call: it survives `fork`, and a caller decides how many threads work. `report` is asked
/// between blocks of work, on the thread that called the kernel, never on a worker; `false` ends the kernel
/// with [`Error::Interrupted`]. Kernels size their blocks so that it is asked every 20 to 100 ms.
pub struct Context<'a> {
    pool: &'a rayon::ThreadPool,
    report: &'a (dyn Fn(usize, usize, &'static str) -> bool + 'a),
}

impl<'a> Context<'a> {
    /// A context whose `report(done, total, stage)` is told the progress and answers "go on?".
    pub fn new(
        pool: &'a rayon::ThreadPool,
        report: &'a (dyn Fn(usize, usize, &'static str) -> bool + 'a),
    ) -> Self {
        Self { pool, report }
    }

    /// A context that never interrupts and reports to nobody.
    #[must_use]
    pub fn quiet(pool: &'a rayon::ThreadPool) -> Self {
        Self {
            pool,
            report: &|_, _, _| true,
        }
    }

    /// A pool of `threads` workers for one call.
    ///
    /// # Errors
    /// [`Error::Parameter`] when `threads` is 0 or the system gives no threads.
    pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
        if threads == 0 {
            return Err(Error::parameter("n_jobs", 0, "must be at least 1, or None"));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|e| Error::parameter("n_jobs", threads, format!("no threads to be had ({e})")))
    }

    /// Number of worker threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Run `f` on the pool: inside, rayon's parallel iterators use this call's workers.
    pub fn install<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.pool.install(f)
    }

    /// Report progress and ask whether to go on. Call it on the kernel's calling thread only.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the caller says stop.
    pub fn tick(&self, done: usize, total: usize, stage: &'static str) -> Result<()> {
        if (self.report)(done, total, stage) {
            Ok(())
        } else {
            Err(Error::Interrupted)
        }
    }

    /// `0..n` in blocks of `step`, in order: `f` runs on the pool, the question is asked between blocks.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the caller says stop.
    pub fn blocks<T: Send>(
        &self,
        n: usize,
        step: usize,
        stage: &'static str,
        f: impl Fn(Range<usize>) -> T + Sync,
    ) -> Result<Vec<T>> {
        let step = step.max(1);
        let mut out = Vec::with_capacity(n.div_ceil(step));
        for lo in (0..n).step_by(step) {
            self.tick(lo, n, stage)?;
            out.push(self.install(|| f(lo..n.min(lo + step))));
        }
        self.tick(n, n, stage)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn blocks_cover_the_range_in_order() {
        let pool = Context::pool(2).expect("a pool");
        let ranges = Context::quiet(&pool)
            .blocks(10, 4, "test", |r| r)
            .expect("not interrupted");
        assert_eq!(ranges, vec![0..4, 4..8, 8..10]);
    }

    #[test]
    fn stops_when_told() {
        let pool = Context::pool(1).expect("a pool");
        let calls = Cell::new(0);
        let report = |_, _, _| {
            calls.set(calls.get() + 1);
            calls.get() < 3
        };
        let result = Context::new(&pool, &report).blocks(100, 10, "test", |r| r.len());
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(calls.get(), 3);
    }
}
