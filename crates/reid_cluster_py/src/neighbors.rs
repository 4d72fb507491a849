//! `knn`.

use numpy::PyArray2;
use pyo3::prelude::*;

use crate::arrays::{Rows, table};
use crate::released::released;

type Arrays<'py> = (Bound<'py, PyArray2<i32>>, Bound<'py, PyArray2<f32>>);

/// Indices and squared distances of the k nearest rows; see `reid_cluster.knn`.
#[pyfunction]
#[pyo3(signature = (features, k, *, queries, n_jobs, progress))]
pub(crate) fn knn<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    k: usize,
    queries: Option<&Bound<'py, PyAny>>,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Arrays<'py>> {
    let features = Rows::borrow(features, "features")?;
    let queries = queries.map(|q| Rows::borrow(q, "queries")).transpose()?;
    let (x, q) = (
        features.matrix()?,
        queries.as_ref().map(Rows::matrix).transpose()?,
    );
    let found = released(py, n_jobs, progress, |context| {
        reid_cluster::knn(x, q, k, context)
    })?;
    Ok((
        table(py, found.indices, found.k)?,
        table(py, found.distances, found.k)?,
    ))
}

/// Products of all pairs of rows and nothing else: what a search is measured against.
#[pyfunction]
#[pyo3(signature = (features, *, n_jobs))]
pub(crate) fn product_floor(
    py: Python<'_>,
    features: &Bound<'_, PyAny>,
    n_jobs: usize,
) -> PyResult<()> {
    let features = Rows::borrow(features, "features")?;
    let features = features.matrix()?;
    released(py, n_jobs, None, |context| {
        reid_cluster::product_floor(features, context)
    })
}
