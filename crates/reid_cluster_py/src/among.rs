//! `knn_among`.

use numpy::PyArray2;
use pyo3::prelude::*;
use reid_cluster::Given;

use crate::arrays::{Column, Rows, table};
use crate::released::released;

type Arrays<'py> = (Bound<'py, PyArray2<i32>>, Bound<'py, PyArray2<f32>>);

/// Indices and squared distances of the k nearest of `columns` candidates a query, given one list after the other.
#[pyfunction]
#[pyo3(signature = (features, candidates, columns, k, *, queries, n_jobs, progress))]
#[allow(clippy::too_many_arguments)] // those of the Python function
pub(crate) fn knn_among<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    candidates: &Bound<'py, PyAny>,
    columns: usize,
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
    let lists = Column::borrow(candidates, "candidates", "int32")?;
    let given = Given {
        indices: lists.slice()?,
        columns,
    };
    let found = released(py, n_jobs, progress, |context| {
        reid_cluster::knn_among(x, q, given, k, context)
    })?;
    Ok((
        table(py, found.indices, found.k)?,
        table(py, found.distances, found.k)?,
    ))
}
