//! Exact, parallel kernels for re-identification: neighbours, Jaccard distance, clustering, ranking.

#![cfg_attr(test, allow(clippy::expect_used, clippy::unwrap_used, clippy::float_cmp))]

mod context;
mod error;
mod matrix;

pub use context::Context;
pub use error::{Error, Result};
pub use matrix::Matrix;
