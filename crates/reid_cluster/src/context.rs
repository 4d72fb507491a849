//! What a kernel gets from its caller: worker threads, the question "go on?", and a place to report progress.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, Result};

/// Threads, interruption and progress of one call.
///
/// The pool belongs to the call: it survives `fork`, and a caller decides how many threads work. `report` is
/// asked between blocks of work, on the thread that called the kernel, never on a worker; `false` ends the
/// kernel with [`Error::Interrupted`]. Kernels size their blocks so that it is asked every 20 to 100 ms.
pub struct Context<'a> {
    pool: &'a rayon::ThreadPool,
    report: &'a (dyn Fn(usize, usize, &'static str) -> bool + 'a),
}

impl<'a> Context<'a> {
    /// A context whose `report(done, total, stage)` is told the progress and answers "go on?".
    ///
    /// ```
    /// use reid_cluster::{Context, Error, Matrix, knn};
    ///
    /// # fn main() -> reid_cluster::Result<()> {
    /// let values = [0.0, 1.0, 5.0];
    /// let features = Matrix::new(&values, 3, 1)?;
    /// let pool = Context::pool(1)?;
    /// let stop = |_done, _total, _stage| false; // true goes on
    /// let stopped = knn(features, None, 2, &Context::new(&pool, &stop));
    /// assert!(matches!(stopped, Err(Error::Interrupted)));
    /// # Ok(())
    /// # }
    /// ```
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

    /// The same workers under another `report`: a kernel that repeats a step tells the progress of the whole.
    pub(crate) fn reporting<'b>(
        &'b self,
        report: &'b (dyn Fn(usize, usize, &'static str) -> bool + 'b),
    ) -> Context<'b> {
        Context::new(self.pool, report)
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

    /// Items `0..n`, taken one after another by whichever worker is free: no worker waits for another before
    /// the end. Each worker owns a state made by `init`; the states come back in no fixed order. The calling
    /// thread asks the question meanwhile; after a "stop" each worker ends with the item it is at.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the caller says stop.
    pub fn queue<S: Send>(
        &self,
        n: usize,
        stage: &'static str,
        init: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, usize) + Sync,
    ) -> Result<Vec<S>> {
        self.tick(0, n, stage)?;
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (states, gate) = (Mutex::new(Vec::new()), Gate::new(self.threads()));
        let result = self.pool.in_place_scope(|scope| {
            for _ in 0..self.threads() {
                scope.spawn(|_| {
                    let _leave = Leave(&gate);
                    let mut state = init();
                    while !stop.load(Ordering::Relaxed) {
                        let item = next.fetch_add(1, Ordering::Relaxed);
                        if item >= n {
                            break;
                        }
                        work(&mut state, item);
                    }
                    let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
                    states.push(state);
                });
            }
            while gate.wait(Duration::from_millis(20)) {
                let taken = next.load(Ordering::Relaxed);
                let done = taken.saturating_sub(self.threads()).min(n);
                if let Err(error) = self.tick(done, n, stage) {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        });
        result?;
        self.tick(n, n, stage)?;
        Ok(states.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts the workers that are still at it.
struct Gate {
    busy: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn new(workers: usize) -> Self {
        Self {
            busy: Mutex::new(workers),
            changed: Condvar::new(),
        }
    }

    /// Wait until all have left or the time is over; true while some are busy.
    fn wait(&self, time: Duration) -> bool {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let (busy, _) = self
            .changed
            .wait_timeout_while(busy, time, |busy| *busy > 0)
            .unwrap_or_else(PoisonError::into_inner);
        *busy > 0
    }
}

/// Reports one worker's end, also when it panics.
struct Leave<'a>(&'a Gate);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        *self.0.busy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.changed.notify_all();
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
    fn a_queue_does_every_item_once() {
        let pool = Context::pool(3).expect("a pool");
        let context = Context::quiet(&pool);
        let states = context
            .queue(1000, "test", Vec::new, Vec::push)
            .expect("not interrupted");
        let mut items = states.concat();
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_queue_stops_when_told() {
        let pool = Context::pool(2).expect("a pool");
        let calls = Cell::new(0);
        let report = |_, _, _| {
            calls.set(calls.get() + 1);
            calls.get() < 3
        };
        let sleep = |(): &mut (), _| std::thread::sleep(Duration::from_millis(5));
        let result = Context::new(&pool, &report).queue(100_000, "test", || (), sleep);
        assert!(matches!(result, Err(Error::Interrupted)));
    }

    #[test]
    #[should_panic(expected = "broken item")]
    fn a_queue_passes_a_panic_on() {
        let pool = Context::pool(2).expect("a pool");
        let _ =
            Context::quiet(&pool).queue(10, "test", || (), |(), i| assert!(i != 4, "broken item"));
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
