//! `rerank` and `rerank_distances`.

use numpy::PyArray2;
use pyo3::prelude::*;
use reid_cluster::RerankParams;

use crate::arrays::{Rows, table};
use crate::released::released;

/// `(k1, k2, lambda_value)`.
#[derive(FromPyObject)]
pub(crate) struct Params(usize, usize, f32);

/// Re-ranked distances of features; see `reid_cluster.rerank`.
#[pyfunction]
#[pyo3(signature = (query, gallery, params, *, n_jobs, progress))]
pub(crate) fn rerank<'py>(
    py: Python<'py>,
    query: &Bound<'py, PyAny>,
    gallery: &Bound<'py, PyAny>,
    params: Params,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (query, gallery) = (
        Rows::borrow(query, "query")?,
        Rows::borrow(gallery, "gallery")?,
    );
    let (q, g) = (query.matrix()?, gallery.matrix()?);
    let found = released(py, n_jobs, progress, |context| {
        reid_cluster::rerank(q, g, &params.core(), context)
    })?;
    table(py, found, g.rows())
}

/// Re-ranked distances from given ones; see `reid_cluster.rerank_distances`.
#[pyfunction]
#[pyo3(signature = (query_gallery, query_query, gallery_gallery, params, *, n_jobs, progress))]
pub(crate) fn rerank_distances<'py>(
    py: Python<'py>,
    query_gallery: &Bound<'py, PyAny>,
    query_query: &Bound<'py, PyAny>,
    gallery_gallery: &Bound<'py, PyAny>,
    params: Params,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let cross = Rows::borrow(query_gallery, "query_gallery")?;
    let query = Rows::borrow(query_query, "query_query")?;
    let gallery = Rows::borrow(gallery_gallery, "gallery_gallery")?;
    let (qg, qq, gg) = (cross.matrix()?, query.matrix()?, gallery.matrix()?);
    let found = released(py, n_jobs, progress, |context| {
        reid_cluster::rerank_distances(qg, qq, gg, &params.core(), context)
    })?;
    table(py, found, qg.cols())
}

impl Params {
    fn core(&self) -> RerankParams {
        RerankParams {
            k1: self.0,
            k2: self.1,
            lambda: self.2,
        }
    }
}
