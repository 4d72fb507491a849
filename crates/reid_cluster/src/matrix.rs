//! A borrowed N x D view of features: the one way data enters the crate.

use rayon::prelude::*;

use crate::{Context, Error, Result};

/// Values between two questions whether to go on: some 20 ms.
const CHECKED: usize = 1 << 24;

/// Row-major `rows x cols` view of `f32`; copying it copies the reference only.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
}

impl<'a> Matrix<'a> {
    /// View `data` as `rows x cols`.
    ///
    /// ```
    /// use reid_cluster::Matrix;
    ///
    /// let values = [0.0, 0.1, 1.0, 1.1];
    /// let features = Matrix::new(&values, 2, 2)?;
    /// assert_eq!(features.row(1), [1.0, 1.1]);
    /// assert!(Matrix::new(&values, 3, 2).is_err());
    /// # Ok::<(), reid_cluster::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when the slice has another length.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Result<Self> {
        match rows.checked_mul(cols) {
            Some(n) if n == data.len() => Ok(Self { data, rows, cols }),
            _ => Err(Error::Shape(format!(
                "a matrix of {rows} x {cols} needs {rows} * {cols} values, got {}",
                data.len()
            ))),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, row after row.
    #[must_use]
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Row `i`.
    #[must_use]
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Refuse NaN and infinity, naming the first rows that hold one.
    ///
    /// # Errors
    /// [`Error::NotFinite`], or [`Error::Interrupted`].
    pub fn check_finite(&self, name: &'static str, context: &Context<'_>) -> Result<()> {
        let step = (CHECKED / self.cols.max(1)).max(1);
        let blocks = context.blocks(self.rows, step, "check", |range| {
            range
                .into_par_iter()
                .filter(|&i| !self.row(i).iter().all(|v| v.is_finite()))
                .collect::<Vec<usize>>()
        })?;
        let bad: Vec<usize> = blocks.concat();
        if bad.is_empty() {
            return Ok(());
        }
        let first: Vec<String> = bad.iter().take(5).map(ToString::to_string).collect();
        Err(Error::NotFinite {
            name,
            count: bad.len(),
            rows: first.join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_bad_rows() {
        let mut data = vec![0.0_f32; 12];
        data[7] = f32::NAN;
        data[11] = f32::INFINITY;
        let matrix = Matrix::new(&data, 6, 2).expect("6 x 2");
        let pool = Context::pool(1).expect("a pool");
        let error = matrix.check_finite("features", &Context::quiet(&pool));
        let text = error.expect_err("NaN must be refused").to_string();
        assert!(text.contains("features") && text.contains("3, 5"), "{text}");
    }

    #[test]
    fn refuses_wrong_lengths() {
        assert!(Matrix::new(&[0.0; 5], 2, 3).is_err());
        assert!(Matrix::new(&[], usize::MAX, 2).is_err());
    }
}
