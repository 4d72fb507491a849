//! What can go wrong, sorted by what the caller must do about it.

/// The crate's only error type. Every message names the argument, its value and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is outside its range: change the argument.
    #[error("{name}={value}: {remedy}")]
    Parameter {
        /// The argument, as the caller spells it.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        remedy: String,
    },
    /// Sizes of arguments do not fit each other: change the data.
    #[error("{0}")]
    Shape(String),
    /// NaN or infinity in the data: clean the data.
    #[error(
        "{name} has NaN or inf in {count} row(s), first in row(s) {rows}: remove or repair these rows"
    )]
    NotFinite {
        /// The argument.
        name: &'static str,
        /// Number of bad rows.
        count: usize,
        /// The first five row numbers, comma separated.
        rows: String,
    },
    /// The work needs more memory than can be had: make it smaller.
    #[error("{what} needs {gigabytes:.1} GB: {remedy}")]
    TooLarge {
        /// What would be allocated.
        what: String,
        /// Gigabytes (1e9 bytes) needed.
        gigabytes: f64,
        /// What to call or change instead.
        remedy: String,
    },
    /// The caller's `go_on` said no (Ctrl-C in Python).
    #[error("interrupted")]
    Interrupted,
}

/// Shorthand used by every kernel.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An argument outside its range.
    #[allow(clippy::needless_pass_by_value)] // callers pass plain numbers and words
    pub fn parameter(name: &'static str, value: impl ToString, remedy: impl Into<String>) -> Self {
        Self::Parameter {
            name,
            value: value.to_string(),
            remedy: remedy.into(),
        }
    }
}
