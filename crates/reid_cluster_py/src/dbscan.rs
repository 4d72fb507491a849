//! `dbscan`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::marker::Ungil;
use pyo3::prelude::*;
use reid_cluster::{Context, Distances, Graph, Result};

use crate::arrays::{Column, Rows};
use crate::released::released;

/// A square float32 array, or `(indptr, indices, data)` as int64, int32 and float32.
#[derive(FromPyObject)]
pub(crate) enum Pairs<'py> {
    Sparse(Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>),
    Dense(Bound<'py, PyAny>),
}

impl Pairs<'_> {
    /// Run `kernel` on the distances with the interpreter released.
    pub(crate) fn released<T: Ungil + Send>(
        &self,
        py: Python<'_>,
        n_jobs: usize,
        progress: Option<Py<PyAny>>,
        kernel: impl FnOnce(&Distances<'_>, &Context<'_>) -> Result<T> + Ungil + Send,
    ) -> PyResult<T> {
        match self {
            Pairs::Dense(array) => {
                let rows = Rows::borrow(array, "distances")?;
                let dense = Distances::Dense(rows.matrix()?);
                released(py, n_jobs, progress, |context| kernel(&dense, context))
            }
            Pairs::Sparse(indptr, indices, data) => {
                let indptr = Column::borrow(indptr, "distances.indptr", "int64")?;
                let indices = Column::borrow(indices, "distances.indices", "int32")?;
                let data = Column::borrow(data, "distances.data", "float32")?;
                let (indptr, indices, data) = (indptr.slice()?, indices.slice()?, data.slice()?);
                released(py, n_jobs, progress, |context| {
                    let graph = Distances::Sparse(Graph::new(indptr, indices, data, context)?);
                    kernel(&graph, context)
                })
            }
        }
    }
}

/// A label per point, -1 for noise; see `reid_cluster.dbscan`.
#[pyfunction]
#[pyo3(signature = (distances, eps, min_samples, *, n_jobs, progress))]
pub(crate) fn dbscan<'py>(
    py: Python<'py>,
    distances: Pairs<'py>,
    eps: f32,
    min_samples: usize,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let labels = distances.released(py, n_jobs, progress, |distances, context| {
        reid_cluster::dbscan(distances, eps, min_samples, context)
    })?;
    Ok(labels.into_pyarray(py))
}
