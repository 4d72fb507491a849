//! `kmeans`.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;
use reid_cluster::{KMeansParams, Start};

use crate::arrays::{Rows, table};
use crate::released::released;

type Result<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray2<f32>>,
    f64,
    usize,
);

/// `(centers, seeds, plus_plus)`: float32 centres or None, else the seed of each run, drawn by k-means++ or evenly.
#[derive(FromPyObject)]
pub(crate) struct Init<'py>(Option<Bound<'py, PyAny>>, Vec<u64>, bool);

/// Labels, centres, inertia and rounds; see `reid_cluster.kmeans`.
#[pyfunction]
#[pyo3(signature = (features, n_clusters, *, init, max_iter, tol, n_jobs, progress))]
#[expect(clippy::too_many_arguments, reason = "one for each argument in Python")]
pub(crate) fn kmeans<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    n_clusters: usize,
    init: Init<'py>,
    max_iter: usize,
    tol: f64,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Result<'py>> {
    let features = Rows::borrow(features, "features")?;
    let Init(centers, seeds, plus_plus) = init;
    let centers = centers.map(|a| Rows::borrow(&a, "init")).transpose()?;
    let start = match (&centers, plus_plus) {
        (Some(centers), _) => Start::Centers(centers.matrix()?),
        (None, true) => Start::PlusPlus(&seeds),
        (None, false) => Start::Random(&seeds),
    };
    let params = KMeansParams {
        n_clusters,
        max_iter,
        tol,
    };
    let x = features.matrix()?;
    let found = released(py, n_jobs, progress, |context| {
        reid_cluster::kmeans(x, start, &params, context)
    })?;
    Ok((
        found.labels.into_pyarray(py),
        table(py, found.centers, x.cols())?,
        found.inertia,
        found.n_iter,
    ))
}
