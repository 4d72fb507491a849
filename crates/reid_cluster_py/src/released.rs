//! One way into every kernel: a pool for the call, the interpreter released, Ctrl-C and progress on the
//! calling thread.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::marker::Ungil;
use pyo3::prelude::*;
use reid_cluster::{Context, Error, Result};

/// At most this often Python is asked for signals and told the progress.
const PAUSE: Duration = Duration::from_millis(50);

/// Run `kernel` on `n_jobs` threads of its own with the interpreter released.
///
/// Every 50 ms at most, on the calling thread, signals are checked and `progress(done, total, stage)` is
/// called, and besides at the first and last report of each stage. An exception of either ends the kernel and
/// is raised.
pub(crate) fn released<T: Ungil + Send>(
    py: Python<'_>,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
    kernel: impl FnOnce(&Context<'_>) -> Result<T> + Ungil + Send,
) -> PyResult<T> {
    let (result, raised) = py.detach(move || {
        let reporter = Reporter::new(progress);
        let report = |done, total, stage| reporter.report(done, total, stage);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let pool = Context::pool(n_jobs)?;
            kernel(&Context::new(&pool, &report))
        }));
        (result.map_err(panic_text), reporter.raised.into_inner())
    });
    if let Some(error) = raised {
        return Err(error);
    }
    match result {
        Ok(result) => result.map_err(python_error),
        Err(text) => Err(PyRuntimeError::new_err(format!(
            "a defect in reid_cluster, please report it: {text}"
        ))),
    }
}

/// What the calling thread does between blocks of work.
struct Reporter {
    progress: Option<Py<PyAny>>,
    last: Cell<Instant>,
    stage: Cell<&'static str>,
    raised: RefCell<Option<PyErr>>,
}

impl Reporter {
    fn new(progress: Option<Py<PyAny>>) -> Self {
        Self {
            progress,
            last: Cell::new(Instant::now()),
            stage: Cell::new(""),
            raised: RefCell::new(None),
        }
    }

    fn report(&self, done: usize, total: usize, stage: &'static str) -> bool {
        let edge = self.progress.is_some() && (self.stage.replace(stage) != stage || done == total);
        if !edge && self.last.get().elapsed() < PAUSE {
            return true;
        }
        self.last.set(Instant::now());
        let asked = Python::attach(|py| {
            py.check_signals()?;
            if let Some(progress) = &self.progress {
                progress.call1(py, (done, total, stage))?;
            }
            Ok(())
        });
        match asked {
            Ok(()) => true,
            Err(error) => {
                *self.raised.borrow_mut() = Some(error);
                false
            }
        }
    }
}

fn python_error(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::TooLarge { .. } => PyMemoryError::new_err(text),
        Error::Interrupted => PyKeyboardInterrupt::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or_else(|_| "panic".to_owned(), |text| (*text).to_owned()),
    }
}
