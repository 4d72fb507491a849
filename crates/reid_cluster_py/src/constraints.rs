//! `time_overlap` and `constrained_dbscan`.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;
use reid_cluster::{CannotLink, ConstrainedParams, OverlapParams, Scope, Spans};

use crate::arrays::{Column, table};
use crate::dbscan::Pairs;
use crate::released::released;

/// Pairs i < j as an (M, 2) array; see `reid_cluster.time_overlap`.
#[pyfunction]
#[pyo3(signature = (start, end, *, camera, clock, cross, same, margin, exempt, n_jobs, progress))]
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // keywords of one private Python call
pub(crate) fn time_overlap<'py>(
    py: Python<'py>,
    start: &Bound<'py, PyAny>,
    end: &Bound<'py, PyAny>,
    camera: Option<&Bound<'py, PyAny>>,
    clock: Option<&Bound<'py, PyAny>>,
    cross: bool,
    same: bool,
    margin: f64,
    exempt: Vec<[i64; 2]>,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let start = Column::borrow(start, "start", "float64")?;
    let end = Column::borrow(end, "end", "float64")?;
    let camera = camera
        .map(|a| Column::borrow(a, "camera", "int64"))
        .transpose()?;
    let clock = clock
        .map(|a| Column::borrow(a, "clock", "int64"))
        .transpose()?;
    let spans = Spans {
        start: start.slice()?,
        end: end.slice()?,
        camera: camera.as_ref().map(Column::slice).transpose()?,
        clock: clock.as_ref().map(Column::slice).transpose()?,
    };
    let params = OverlapParams {
        scope: match (cross, same) {
            (true, _) => Scope::Cross,
            (_, true) => Scope::Same,
            _ => Scope::All,
        },
        margin,
        exempt: &exempt,
    };
    let pairs = released(py, n_jobs, progress, |context| {
        reid_cluster::time_overlap(&spans, &params, context)
    })?;
    table(py, pairs.into_flattened(), 2)
}

/// A label per sample, -1 for noise; `cannot_link` holds both ends of each pair in turn. See
/// `reid_cluster.constrained_dbscan`.
#[pyfunction]
#[pyo3(signature = (distances, eps, cannot_link, min_samples, *, relaxed, n_jobs, progress))]
#[allow(clippy::too_many_arguments)] // keywords of one private Python call
pub(crate) fn constrained_dbscan<'py>(
    py: Python<'py>,
    distances: Pairs<'py>,
    eps: f64,
    cannot_link: &Bound<'py, PyAny>,
    min_samples: usize,
    relaxed: Option<f64>,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let ends = Column::<i32>::borrow(cannot_link, "cannot_link", "int32")?;
    let (pairs, _) = ends.slice()?.as_chunks();
    let params = ConstrainedParams {
        eps,
        min_samples,
        relaxed,
    };
    let labels = distances.released(py, n_jobs, progress, |distances, context| {
        let links = CannotLink::new(pairs, distances.rows(), context)?;
        reid_cluster::constrained_dbscan(distances, &links, &params, context)
    })?;
    Ok(labels.into_pyarray(py))
}
