//! `evaluate_rank` and `evaluate_features`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use reid_cluster::{Identities, Ignored, Ranking};

use crate::arrays::{Column, Rows};
use crate::released::released;

type Metrics<'py> = (
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    f64,
    f64,
    usize,
    Bound<'py, PyArray1<f64>>,
    f64,
);

/// Metrics of given distances; see `reid_cluster.evaluate_rank`.
#[pyfunction]
#[pyo3(signature = (distances, ids, *, max_rank, n_jobs, progress))]
pub(crate) fn evaluate_rank<'py>(
    py: Python<'py>,
    distances: &Bound<'py, PyAny>,
    ids: Ids<'py>,
    max_rank: usize,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Metrics<'py>> {
    let (distances, ids) = (Rows::borrow(distances, "distances")?, ids.borrow()?);
    let (d, ids) = (distances.matrix()?, ids.identities()?);
    let found = released(py, n_jobs, progress, |context| {
        reid_cluster::evaluate_rank(d, &ids, max_rank, context)
    })?;
    Ok(metrics(py, found))
}

/// Metrics of the squared distances of features; see `reid_cluster.evaluate_features`.
#[pyfunction]
#[pyo3(signature = (query, gallery, ids, *, max_rank, n_jobs, progress))]
pub(crate) fn evaluate_features<'py>(
    py: Python<'py>,
    query: &Bound<'py, PyAny>,
    gallery: &Bound<'py, PyAny>,
    ids: Ids<'py>,
    max_rank: usize,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Metrics<'py>> {
    let (query, gallery) = (
        Rows::borrow(query, "query")?,
        Rows::borrow(gallery, "gallery")?,
    );
    let ids = ids.borrow()?;
    let (q, g, ids) = (query.matrix()?, gallery.matrix()?, ids.identities()?);
    let found = released(py, n_jobs, progress, |context| {
        reid_cluster::evaluate_features(q, g, &ids, max_rank, context)
    })?;
    Ok(metrics(py, found))
}

/// `(q_pids, g_pids, q_camids, g_camids, itself)`: int64 arrays, cameras or None, and whether both sets are the same pictures.
#[derive(FromPyObject)]
pub(crate) struct Ids<'py>(
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyAny>>,
    bool,
);

/// The arrays of [`Ids`], borrowed.
struct Columns<'py> {
    pids: (Column<'py, i64>, Column<'py, i64>),
    cameras: Option<(Column<'py, i64>, Column<'py, i64>)>,
    itself: bool,
}

impl<'py> Ids<'py> {
    fn borrow(&self) -> PyResult<Columns<'py>> {
        let column = |array: &Bound<'py, PyAny>, name| Column::borrow(array, name, "int64");
        let cameras = match (&self.2, &self.3) {
            (Some(q), Some(g)) => Some((column(q, "q_camids")?, column(g, "g_camids")?)),
            _ => None,
        };
        Ok(Columns {
            pids: (column(&self.0, "q_pids")?, column(&self.1, "g_pids")?),
            cameras,
            itself: self.4,
        })
    }
}

impl Columns<'_> {
    fn identities(&self) -> PyResult<Identities<'_>> {
        let ignored = match &self.cameras {
            Some((query, gallery)) => Ignored::SameCamera {
                query: query.slice()?,
                gallery: gallery.slice()?,
            },
            None if self.itself => Ignored::Itself,
            None => Ignored::Nothing,
        };
        Ok(Identities {
            query: self.pids.0.slice()?,
            gallery: self.pids.1.slice()?,
            ignored,
        })
    }
}

/// In the order of the fields in Python, then average precision by trapezoids and its mean.
fn metrics(py: Python<'_>, found: Ranking) -> Metrics<'_> {
    (
        found.cmc.into_pyarray(py),
        found.ap.into_pyarray(py),
        found.inp.into_pyarray(py),
        found.map,
        found.minp,
        found.n_valid,
        found.ap_trapezoid.into_pyarray(py),
        found.map_trapezoid,
    )
}
