//! `jaccard` and `jaccard_graph`.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;
use reid_cluster::{Given, JaccardParams, Weights};

use crate::arrays::{Column, Rows, table};
use crate::released::released;

type Csr<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<f32>>,
);

/// `(k1, k2, count_self, squared)`; `squared` for weights of |x|^2 + |y|^2 - 2 x.y, else 2 - 2 x.y.
#[derive(FromPyObject)]
pub(crate) struct Params(usize, usize, bool, bool);

/// `(indices, columns)`: neighbour lists one after the other, int32, and their length.
#[derive(FromPyObject)]
pub(crate) struct Lists<'py>(Bound<'py, PyAny>, usize);

/// All distances; see `reid_cluster.jaccard`.
#[pyfunction]
#[pyo3(signature = (features, params, *, neighbors, n_jobs, progress))]
pub(crate) fn jaccard<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    params: Params,
    neighbors: Option<Lists<'py>>,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (features, lists) = (Rows::borrow(features, "features")?, borrow(neighbors)?);
    let (x, given) = (features.matrix()?, given(lists.as_ref())?);
    let found = released(py, n_jobs, progress, |context| {
        reid_cluster::jaccard(x, &params.core(), given, context)
    })?;
    table(py, found, x.rows())
}

/// Close pairs as `(indptr, indices, data)`; see `reid_cluster.jaccard_graph`.
#[pyfunction]
#[pyo3(signature = (features, params, *, max_distance, neighbors, n_jobs, progress))]
pub(crate) fn jaccard_graph<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    params: Params,
    max_distance: f32,
    neighbors: Option<Lists<'py>>,
    n_jobs: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Csr<'py>> {
    let (features, lists) = (Rows::borrow(features, "features")?, borrow(neighbors)?);
    let (x, given) = (features.matrix()?, given(lists.as_ref())?);
    let graph = released(py, n_jobs, progress, |context| {
        reid_cluster::jaccard_graph(x, &params.core(), max_distance, given, context)
    })?;
    let (indptr, indices, data) = graph.into_parts();
    Ok((
        indptr.into_pyarray(py),
        indices.into_pyarray(py),
        data.into_pyarray(py),
    ))
}

impl Params {
    fn core(&self) -> JaccardParams {
        JaccardParams {
            k1: self.0,
            k2: self.1,
            count_self: self.2,
            weights: if self.3 {
                Weights::SquaredEuclidean
            } else {
                Weights::Inner
            },
        }
    }
}

fn borrow(lists: Option<Lists<'_>>) -> PyResult<Option<(Column<'_, i32>, usize)>> {
    lists
        .map(|lists| Ok((Column::borrow(&lists.0, "neighbors", "int32")?, lists.1)))
        .transpose()
}

fn given<'a>(lists: Option<&'a (Column<'_, i32>, usize)>) -> PyResult<Option<Given<'a>>> {
    lists
        .map(|(indices, columns)| {
            Ok(Given {
                indices: indices.slice()?,
                columns: *columns,
            })
        })
        .transpose()
}
