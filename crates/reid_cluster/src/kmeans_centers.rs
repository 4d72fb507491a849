//! The centres of k-means: means of rows, summed in float64 in the order of the rows.

use std::sync::{Mutex, PoisonError};

use crate::kmeans_assign::Targets;
use crate::{Context, Matrix, Result};

/// Columns of one item of work, so that one large cluster is shared among the workers.
const COLS: usize = 128;
/// Sums held at a time.
const VALUES: usize = 1 << 22;

/// All centres, and what comparing rows with them needs.
pub(crate) struct Centers {
    /// `(K, D)`.
    pub(crate) values: Vec<f32>,
    /// Mean of all rows, m.
    mean: Vec<f64>,
    shifted: Vec<f32>, // (K, D): c' = c - m
    biases: Vec<f32>,  // |c'|^2 / 2 + m.c'
    labels: Vec<u32>,  // 0..K
}

/// Those centres that moved, copied together.
pub(crate) struct Moved {
    pub(crate) flags: Vec<bool>,
    /// Sum of the squared shifts.
    pub(crate) shift: f64,
    labels: Vec<u32>,
    shifted: Vec<f32>,
    biases: Vec<f32>,
}

impl Centers {
    pub(crate) fn new(values: Vec<f32>, mean: Vec<f64>) -> Self {
        let k = values.len() / mean.len();
        let mut centers = Self {
            shifted: vec![0.0; values.len()],
            biases: vec![0.0; k],
            labels: (0..k as u32).collect(),
            values: Vec::new(),
            mean,
        };
        for (c, row) in values.chunks_exact(centers.mean.len()).enumerate() {
            let row: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
            centers.shift(c, &row);
        }
        centers.values = values;
        centers
    }

    pub(crate) fn row(&self, c: usize) -> &[f32] {
        &self.values[c * self.mean.len()..][..self.mean.len()]
    }

    pub(crate) fn targets(&self) -> Result<Targets<'_>> {
        Ok(Targets {
            centers: Matrix::new(&self.shifted, self.labels.len(), self.mean.len())?,
            biases: &self.biases,
            labels: &self.labels,
        })
    }

    /// Put the `changed` centres that have rows where the mean of their rows is.
    pub(crate) fn update(
        &mut self,
        x: Matrix<'_>,
        labels: &[u32],
        changed: &[bool],
        context: &Context<'_>,
    ) -> Result<Moved> {
        let d = self.mean.len();
        let members = Members::new(labels, changed);
        let clusters: Vec<usize> = (0..changed.len())
            .filter(|&c| !members.of(c).is_empty())
            .collect();
        let mut moved = Moved {
            flags: vec![false; changed.len()],
            shift: 0.0,
            labels: Vec::new(),
            shifted: Vec::new(),
            biases: Vec::new(),
        };
        let step = (VALUES / d).max(1);
        for group in clusters.chunks(step) {
            let rows: Vec<&[u32]> = group.iter().map(|&c| members.of(c)).collect();
            let means = means(x, &rows, context)?;
            for (&c, mean) in group.iter().zip(means.chunks_exact(d)) {
                let mut same = true;
                for (old, &new) in self.values[c * d..][..d].iter_mut().zip(mean) {
                    let new = new as f32;
                    same &= old.to_bits() == new.to_bits();
                    moved.shift += (f64::from(new) - f64::from(*old)).powi(2);
                    *old = new;
                }
                if !(self.shift(c, mean) && same) {
                    moved.flags[c] = true;
                    moved.labels.push(c as u32);
                    moved.biases.push(self.biases[c]);
                    moved.shifted.extend_from_slice(&self.shifted[c * d..][..d]);
                }
            }
        }
        Ok(moved)
    }

    /// Put centre `c` at `row` in `shifted` and `biases`; true if it was there.
    fn shift(&mut self, c: usize, row: &[f64]) -> bool {
        let d = row.len();
        let (mut bias, mut same) = (0.0, true);
        let out = self.shifted[c * d..][..d].iter_mut();
        for ((out, &value), &mean) in out.zip(row).zip(&self.mean) {
            let new = (value - mean) as f32;
            same &= out.to_bits() == new.to_bits();
            *out = new;
            bias += f64::from(new) * (f64::from(new) / 2.0 + mean);
        }
        self.biases[c] = bias as f32;
        same
    }
}

impl Moved {
    pub(crate) fn targets(&self) -> Result<Targets<'_>> {
        let k = self.labels.len();
        Ok(Targets {
            centers: Matrix::new(
                &self.shifted,
                k,
                self.shifted.len().checked_div(k).unwrap_or(0),
            )?,
            biases: &self.biases,
            labels: &self.labels,
        })
    }
}

/// Rows of the wanted clusters, ascending.
struct Members {
    ends: Vec<usize>,
    rows: Vec<u32>,
}

impl Members {
    fn new(labels: &[u32], wanted: &[bool]) -> Self {
        let mut ends = vec![0; wanted.len() + 1];
        for &label in labels {
            ends[label as usize + 1] += usize::from(wanted[label as usize]);
        }
        for c in 0..wanted.len() {
            ends[c + 1] += ends[c];
        }
        let mut next = ends.clone();
        let mut rows = vec![0; ends[wanted.len()]];
        for (row, &label) in (0_u32..).zip(labels) {
            if wanted[label as usize] {
                rows[next[label as usize]] = row;
                next[label as usize] += 1;
            }
        }
        Self { ends, rows }
    }

    fn of(&self, c: usize) -> &[u32] {
        &self.rows[self.ends[c]..self.ends[c + 1]]
    }
}

/// The mean of each set of rows, `(sets, D)`.
pub(crate) fn means(x: Matrix<'_>, sets: &[&[u32]], context: &Context<'_>) -> Result<Vec<f64>> {
    let d = x.cols();
    let mut means = vec![0.0; sets.len() * d];
    let parts: Vec<_> = means
        .chunks_mut(d)
        .flat_map(|mean| mean.chunks_mut(COLS))
        .map(Mutex::new)
        .collect();
    let each = d.div_ceil(COLS);
    context.queue(
        parts.len(),
        "means",
        || (),
        |(), item| {
            let mut mean = parts[item].lock().unwrap_or_else(PoisonError::into_inner);
            let (rows, from) = (sets[item / each], item % each * COLS);
            for &row in rows {
                let values = &x.row(row as usize)[from..from + mean.len()];
                for (sum, &v) in mean.iter_mut().zip(values) {
                    *sum += f64::from(v);
                }
            }
            mean.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
        },
    )?;
    drop(parts);
    Ok(means)
}
