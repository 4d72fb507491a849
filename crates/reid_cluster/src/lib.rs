//! Exact, parallel kernels for re-identification: neighbours, Jaccard distance, clustering, ranking.

#![cfg_attr(
    test,
    allow(clippy::expect_used, clippy::unwrap_used, clippy::float_cmp)
)]

mod among;
mod bottom_up;
mod bottom_up_frozen;
mod bottom_up_live;
mod clusters;
mod constrained_dbscan;
mod constraints;
mod context;
mod dbscan;
mod error;
mod graph;
mod jaccard;
mod kmeans;
mod kmeans_assign;
mod kmeans_centers;
mod kmeans_seeds;
mod lanes;
mod matrix;
mod memory;
mod neighborhoods;
mod neighbors;
mod product;
mod ranking;
mod rerank;
mod rerank_search;
mod sparse;
mod time_overlap;
mod union_find;

pub use among::knn_among;
pub use bottom_up::{BottomUp, BottomUpParams, Distance, Linkage, Sizes, bottom_up};
pub use constrained_dbscan::{ConstrainedParams, constrained_dbscan};
pub use constraints::CannotLink;
pub use context::Context;
pub use dbscan::{Distances, dbscan};
pub use error::{Error, Result};
pub use graph::Graph;
pub use jaccard::{Given, JaccardParams, Weights, jaccard, jaccard_graph};
pub use kmeans::{KMeans, KMeansParams, Start, kmeans};
pub use matrix::Matrix;
pub use neighbors::{Neighbors, knn};
pub use ranking::{Identities, Ignored, Ranking, evaluate_features, evaluate_rank};
pub use rerank::{RerankParams, rerank, rerank_distances};
pub use time_overlap::{OverlapParams, Scope, Spans, time_overlap};
