//! `hdc` and `kmeans_plusplus`.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;
use reid_cluster::{HdcInit, HdcParams, Isolated, Similarity};

use crate::arrays::{Column, Rows, table};
use crate::dbscan::Pairs;
use crate::released::released;

type Labels<'py> = Bound<'py, PyArray2<i64>>;
type Trace<'py> = (Labels<'py>, Labels<'py>, Bound<'py, PyArray2<f32>>);
type Result<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<f64>>,
    Option<Trace<'py>>,
);

/// The chosen samples; see `reid_cluster.kmeans_plusplus`.
#[pyfunction]
#[pyo3(signature = (distances, n_clusters, *, first, uniforms, n_jobs, progress))]
pub(crate) fn kmeans_plusplus<'py>(
    py: Python<'py>,
    distances: Pairs<'py>,
    n_clusters: usize,
    first: usize,
    uniforms: &Bound<'py, PyAny>,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    let uniforms = Column::<f64>::borrow(uniforms, "uniforms", "float64")?;
    let uniforms = uniforms.slice()?;
    let chosen = distances.released(py, n_jobs, progress, |distances, context| {
        reid_cluster::kmeans_plusplus(distances, n_clusters, first, uniforms, context)
    })?;
    Ok(chosen.into_pyarray(py))
}

/// `(first, uniforms)`, `("indices", array)`, `("labels", array)` or `("centers", array)`.
#[derive(FromPyObject)]
pub(crate) enum Start<'py> {
    PlusPlus(usize, Bound<'py, PyAny>),
    Given(String, Bound<'py, PyAny>),
}

/// A start, borrowed from Python.
enum Borrowed<'py> {
    PlusPlus(usize, Column<'py, f64>),
    Indices(Column<'py, i64>),
    Labels(Column<'py, i64>),
    Centers(Rows<'py>),
}

impl<'py> Borrowed<'py> {
    fn new(start: &Start<'py>) -> PyResult<Self> {
        Ok(match start {
            Start::PlusPlus(first, uniforms) => {
                Self::PlusPlus(*first, Column::borrow(uniforms, "uniforms", "float64")?)
            }
            Start::Given(kind, array) => match kind.as_str() {
                "indices" => Self::Indices(Column::borrow(array, "init", "int64")?),
                "labels" => Self::Labels(Column::borrow(array, "init", "int64")?),
                _ => Self::Centers(Rows::borrow(array, "init")?),
            },
        })
    }

    fn init(&self) -> PyResult<HdcInit<'_>> {
        Ok(match self {
            Self::PlusPlus(first, uniforms) => HdcInit::PlusPlus {
                first: *first,
                uniforms: uniforms.slice()?,
            },
            Self::Indices(indices) => HdcInit::Indices(indices.slice()?),
            Self::Labels(labels) => HdcInit::Labels(labels.slice()?),
            Self::Centers(centers) => HdcInit::Centers(centers.matrix()?),
        })
    }
}

/// Labels, all labels, centroids, scores, shifts and the trace; see `reid_cluster.hdc`.
#[pyfunction]
#[pyo3(signature = (
    features, distances, n_clusters, start, *, rounds, n_sigma, threshold, outliers, similarity, normalize_centroids,
    isolated, return_trace, n_jobs, progress
))]
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // keywords of one private Python call
pub(crate) fn hdc<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    distances: Option<Pairs<'py>>,
    n_clusters: usize,
    start: Start<'py>,
    rounds: (usize, usize, usize),
    n_sigma: f32,
    threshold: Option<f32>,
    outliers: bool,
    similarity: &str,
    normalize_centroids: bool,
    isolated: bool,
    return_trace: bool,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Result<'py>> {
    let features = Rows::borrow(features, "features")?;
    let (x, start) = (features.matrix()?, Borrowed::new(&start)?);
    let init = start.init()?;
    let (max_iter, min_iter, patience) = rounds;
    let params = HdcParams {
        n_clusters,
        max_iter,
        min_iter,
        patience,
        n_sigma,
        threshold,
        outliers,
        similarity: match similarity {
            "cosine" => Similarity::Cosine,
            "euclidean" => Similarity::Euclidean,
            _ => Similarity::Euler,
        },
        normalize_centroids,
        isolated: if isolated {
            Isolated::Outlier
        } else {
            Isolated::Cluster
        },
        trace: return_trace,
    };
    let found = match distances {
        Some(distances) => distances.released(py, n_jobs, progress, |distances, context| {
            reid_cluster::hdc(x, Some(distances), &init, &params, context)
        })?,
        None => released(py, n_jobs, progress, |context| {
            reid_cluster::hdc(x, None, &init, &params, context)
        })?,
    };
    let n = found.labels.len();
    let trace = found.trace.map(|trace| -> PyResult<Trace<'py>> {
        Ok((
            table(py, trace.labels, n)?,
            table(py, trace.labels_all, n)?,
            table(py, trace.scores, n)?,
        ))
    });
    Ok((
        found.labels.into_pyarray(py),
        found.labels_all.into_pyarray(py),
        table(py, found.centroids, x.cols())?,
        found.scores.into_pyarray(py),
        found.shifts.into_pyarray(py),
        trace.transpose()?,
    ))
}
