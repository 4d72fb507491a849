//! The Python module `reid_cluster._core`: argument conversion around the crate `reid_cluster`, no logic.

#![allow(clippy::needless_pass_by_value)] // PyO3 hands values over

use pyo3::prelude::*;

mod among;
mod arrays;
mod bottom_up;
mod constraints;
mod dbscan;
mod hdc;
mod jaccard;
mod kmeans;
mod neighbors;
mod ranking;
mod released;
mod rerank;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(neighbors::knn, module)?)?;
    module.add_function(wrap_pyfunction!(neighbors::product_floor, module)?)?;
    module.add_function(wrap_pyfunction!(among::knn_among, module)?)?;
    module.add_function(wrap_pyfunction!(bottom_up::bottom_up, module)?)?;
    module.add_function(wrap_pyfunction!(ranking::evaluate_rank, module)?)?;
    module.add_function(wrap_pyfunction!(ranking::evaluate_features, module)?)?;
    module.add_function(wrap_pyfunction!(jaccard::jaccard, module)?)?;
    module.add_function(wrap_pyfunction!(jaccard::jaccard_graph, module)?)?;
    module.add_function(wrap_pyfunction!(dbscan::dbscan, module)?)?;
    module.add_function(wrap_pyfunction!(constraints::time_overlap, module)?)?;
    module.add_function(wrap_pyfunction!(constraints::constrained_dbscan, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans, module)?)?;
    module.add_function(wrap_pyfunction!(rerank::rerank, module)?)?;
    module.add_function(wrap_pyfunction!(rerank::rerank_distances, module)?)?;
    module.add_function(wrap_pyfunction!(hdc::hdc, module)?)?;
    module.add_function(wrap_pyfunction!(hdc::kmeans_plusplus, module)?)?;
    Ok(())
}
