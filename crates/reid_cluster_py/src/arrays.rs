//! The border to numpy: C-contiguous arrays of one type are borrowed, everything else is refused.
//!
//! The Python layer converts what users pass; these checks keep the module safe when it is called directly.

use numpy::{
    Element, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use numpy::{IntoPyArray, PyArray2};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use reid_cluster::Matrix;

/// A borrowed (N, D) float32 array; keep it alive while its matrix is used.
pub(crate) struct Rows<'py>(PyReadonlyArray2<'py, f32>);

impl<'py> Rows<'py> {
    /// Borrow `array`, which the caller spells `name`.
    pub(crate) fn borrow(array: &Bound<'py, PyAny>, name: &str) -> PyResult<Self> {
        let array = array
            .cast::<PyArray2<f32>>()
            .map_err(|_| wanted(array, name, "a 2-D float32"))?;
        if !array.is_c_contiguous() {
            return Err(wanted(array.as_any(), name, "a C-contiguous"));
        }
        let array = array
            .try_readonly()
            .map_err(|e| PyValueError::new_err(format!("{name}: {e}")))?;
        Ok(Self(array))
    }

    /// The values as the core wants them.
    pub(crate) fn matrix(&self) -> PyResult<Matrix<'_>> {
        let shape = self.0.shape();
        Matrix::new(self.0.as_slice()?, shape[0], shape[1])
            .map_err(|e| PyValueError::new_err(e.to_string()))
    }
}

/// A borrowed 1-D array; keep it alive while its slice is used.
pub(crate) struct Column<'py, T: Element>(PyReadonlyArray1<'py, T>);

impl<'py, T: Element> Column<'py, T> {
    /// Borrow `array`, which the caller spells `name`; `dtype` is its type in words.
    pub(crate) fn borrow(array: &Bound<'py, PyAny>, name: &str, dtype: &str) -> PyResult<Self> {
        let want = format!("a 1-D C-contiguous {dtype}");
        let array = array
            .cast::<PyArray1<T>>()
            .map_err(|_| wanted(array, name, &want))?;
        if !array.is_c_contiguous() {
            return Err(wanted(array.as_any(), name, &want));
        }
        let array = array
            .try_readonly()
            .map_err(|e| PyValueError::new_err(format!("{name}: {e}")))?;
        Ok(Self(array))
    }

    /// The values.
    pub(crate) fn slice(&self) -> PyResult<&[T]> {
        Ok(self.0.as_slice()?)
    }
}

/// Flat row-major values as a (len / cols, cols) array.
pub(crate) fn table<T: Element>(
    py: Python<'_>,
    values: Vec<T>,
    cols: usize,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    let rows = values.len().checked_div(cols).unwrap_or(0);
    values.into_pyarray(py).reshape([rows, cols])
}

fn wanted(found: &Bound<'_, PyAny>, name: &str, want: &str) -> PyErr {
    let kind = found.get_type().to_string();
    let about = |attribute| {
        found
            .getattr(attribute)
            .map_or_else(|_| "none".to_owned(), |v| v.to_string())
    };
    PyTypeError::new_err(format!(
        "{name} must be {want} numpy array, got {kind} of dtype {} and shape {}",
        about("dtype"),
        about("shape")
    ))
}
