//! Exact, parallel kernels for re-identification: neighbours, Jaccard distance, clustering, ranking.

#![cfg_attr(
    test,
    allow(clippy::expect_used, clippy::unwrap_used, clippy::float_cmp)
)]

mod context;
mod error;
mod matrix;
mod memory;
mod neighbors;
mod product;
mod ranking;

pub use context::Context;
pub use error::{Error, Result};
pub use matrix::Matrix;
pub use neighbors::{Neighbors, knn};
pub use ranking::{
    AveragePrecision, Identities, Ignored, Ranking, evaluate_features, evaluate_rank,
};
