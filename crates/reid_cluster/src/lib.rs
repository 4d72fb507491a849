//! Exact, parallel kernels for re-identification: neighbours, Jaccard distance, clustering, ranking.
//!
//! Re-identification asks which pictures show the same person, vehicle or animal. A network turns each picture into a row of
//! numbers, its *features*, so that rows of one identity lie close. Unsupervised methods learn without names: they group
//! the rows, take the groups for identities, train, and begin again. This crate is what happens between two trainings.
//!
//! # The way of the data
//!
//! 1. **Features** come in as a [`Matrix`]: a borrowed slice of N rows of D numbers, usually of length 1.
//! 2. **Neighbours.** [`knn`] finds the `k` nearest rows of each row, exactly, by the squared Euclidean distance;
//!    [`knn_among`] measures candidates that something faster has named.
//! 3. **Distance.** Two pictures of one identity may look different, but they look like the same others. [`jaccard_graph`] compares
//!    neighbourhoods instead of rows: a row becomes a distribution `V` over the rows that are neighbours of it *and* have it
//!    as a neighbour, and the distance of two rows is
//!
//!    ```text
//!    J(i, j) = 1 - sum_l min(V_il, V_jl) / sum_l max(V_il, V_jl)
//!    ```
//!
//!    which is 0 for equal neighbourhoods and 1 for those that share nothing. Nearly all pairs are at 1, so the result is a
//!    [`Graph`] of the close ones; [`jaccard`] writes the full matrix where N is small.
//! 4. **Clusters.** [`dbscan`] joins what is dense and leaves the rest out with the label -1. [`constrained_dbscan`] does so
//!    with pairs that cannot be one identity kept apart, such as those that [`time_overlap`] finds: nobody is in two places
//!    at once. [`bottom_up`] starts with every row alone and merges the closest clusters, where large ones cost extra.
//!    [`kmeans`] makes a given number of clusters around means; [`hdc`] does so on distances and leaves doubtful rows out,
//!    and starts from rows that [`kmeans_plusplus`] spreads.
//! 5. **Ranking.** With names given, [`evaluate_features`] says how well queries find their identity in a gallery, and
//!    [`evaluate_rank`] how well given distances do, such as those of [`rerank`], which lets the neighbourhoods of queries and
//!    gallery have their say.
//!
//! ```
//! use reid_cluster::{
//!     Context, Distances, Identities, Ignored, JaccardParams, Matrix, dbscan, evaluate_features, jaccard_graph,
//! };
//!
//! # fn main() -> reid_cluster::Result<()> {
//! // Two vehicles, four pictures each; a toy network that finds one angle.
//! let angles: [f32; 8] = [0.0, 0.1, 0.2, 0.3, 2.0, 2.1, 2.2, 2.3];
//! let values: Vec<f32> = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
//! let features = Matrix::new(&values, 8, 2)?;
//!
//! let pool = Context::pool(2)?;
//! let context = Context::quiet(&pool);
//!
//! let params = JaccardParams { k1: 4, k2: 1, ..JaccardParams::default() };
//! let graph = jaccard_graph(features, &params, 0.6, None, &context)?;
//! let labels = dbscan(&Distances::Sparse(graph), 0.5, 2, &context)?;
//! assert_eq!(labels, [0, 0, 0, 0, 1, 1, 1, 1]);
//!
//! // How good are the features? Each picture looks for those of the same vehicle in the other camera.
//! let (vehicles, cameras) = ([7, 7, 7, 7, 9, 9, 9, 9], [1, 1, 2, 2, 1, 1, 2, 2]);
//! let identities = Identities {
//!     query: &vehicles,
//!     gallery: &vehicles,
//!     ignored: Ignored::SameCamera { query: &cameras, gallery: &cameras },
//! };
//! let found = evaluate_features(features, features, &identities, 5, &context)?;
//! assert_eq!((found.map, found.cmc[0]), (1.0, 1.0));
//! # Ok(())
//! # }
//! ```
//!
//! # What holds for every function
//!
//! * Data are borrowed and never changed; what comes back is a plain struct or vector. Labels are `i64` from 0, -1 for none;
//!   row numbers are `i32`.
//! * A [`Context`] says which threads work, is told the progress, and can stop the work. Results have the same bits for any
//!   number of threads: ties go by (distance, row number), sums have a fixed order.
//! * Nothing of size N x N is held unless it is the result. What would not fit into free memory is refused before the work
//!   begins.
//! * Bad input is an [`Error`] that names the argument, its value and the remedy; NaN does not travel, nothing panics.

#![cfg_attr(
    test,
    allow(clippy::expect_used, clippy::unwrap_used, clippy::float_cmp)
)]

mod among;
mod bottom_up;
mod bottom_up_frozen;
mod bottom_up_live;
mod candidates;
mod clusters;
mod constrained_dbscan;
mod constraints;
mod context;
mod dbscan;
mod error;
mod graph;
mod hdc;
mod hdc_assign;
mod hdc_centroids;
mod hdc_distance;
mod hdc_head;
mod hdc_largest;
mod hdc_start;
mod hdc_stop;
mod jaccard;
mod kmeans;
mod kmeans_assign;
mod kmeans_centers;
mod kmeans_plusplus;
mod kmeans_seeds;
mod lanes;
mod matrix;
mod memory;
mod neighborhoods;
mod neighbors;
mod probe;
mod product;
mod ranking;
mod relocation;
mod rerank;
mod rerank_search;
mod sketch;
mod sparse;
mod subspace;
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
pub use hdc::{Hdc, HdcParams, HdcTrace, Isolated, hdc};
pub use hdc_distance::Similarity;
pub use hdc_start::HdcInit;
pub use jaccard::{Given, JaccardParams, Weights, jaccard, jaccard_graph};
pub use kmeans::{KMeans, KMeansParams, Start, kmeans};
pub use kmeans_plusplus::kmeans_plusplus;
pub use matrix::Matrix;
pub use neighbors::{Neighbors, knn};
#[doc(hidden)]
pub use neighbors::{knn_full, product_floor};
pub use ranking::{Identities, Ignored, Ranking, evaluate_features, evaluate_rank};
pub use rerank::{RerankParams, rerank, rerank_distances};
pub use time_overlap::{OverlapParams, Scope, Spans, time_overlap};
