//! `bottom_up`.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;
use reid_cluster::{BottomUpParams, CannotLink, Distance, Linkage, Sizes};

use crate::arrays::{Column, Rows, table};
use crate::released::released;

type Result<'py> = (
    Bound<'py, PyArray1<i64>>,
    usize,
    Bound<'py, PyArray2<i32>>,
    Bound<'py, PyArray1<f32>>,
    f32,
);

/// Labels, number of clusters, pairs, weights and next weight; see `reid_cluster.bottom_up`.
#[pyfunction]
#[pyo3(signature = (features, labels, *, n_merges, size_penalty, euclidean, average, live, min_clusters, groups, cannot_link, n_jobs, progress))]
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // keywords of one private Python call
pub(crate) fn bottom_up<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    labels: Option<&Bound<'py, PyAny>>,
    n_merges: usize,
    size_penalty: f32,
    euclidean: bool,
    average: bool,
    live: bool,
    min_clusters: usize,
    groups: Option<&Bound<'py, PyAny>>,
    cannot_link: Option<&Bound<'py, PyAny>>,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Result<'py>> {
    let features = Rows::borrow(features, "features")?;
    let labels = labels
        .map(|a| Column::<i64>::borrow(a, "labels", "int64"))
        .transpose()?;
    let groups = groups
        .map(|a| Column::<i64>::borrow(a, "groups", "int64"))
        .transpose()?;
    let ends = cannot_link
        .map(|a| Column::<i32>::borrow(a, "cannot_link", "int32"))
        .transpose()?;
    let params = BottomUpParams {
        n_merges,
        size_penalty,
        distance: if euclidean {
            Distance::Euclidean
        } else {
            Distance::SquaredEuclidean
        },
        linkage: if average {
            Linkage::Average
        } else {
            Linkage::Single
        },
        sizes: if live { Sizes::Live } else { Sizes::Frozen },
        min_clusters,
    };
    let x = features.matrix()?;
    let labels = labels.as_ref().map(Column::slice).transpose()?;
    let groups = groups.as_ref().map(Column::slice).transpose()?;
    let pairs = ends.as_ref().map(Column::slice).transpose()?;
    let found = released(py, n_jobs, progress, |context| {
        let links = pairs
            .map(|ends| CannotLink::new(ends.as_chunks().0, x.rows(), context))
            .transpose()?;
        reid_cluster::bottom_up(x, labels, groups, links.as_ref(), &params, context)
    })?;
    Ok((
        found.labels.into_pyarray(py),
        found.n_clusters,
        table(py, found.pairs.into_flattened(), 2)?,
        found.weights.into_pyarray(py),
        found.next_weight,
    ))
}
