//! Rows of (column, value) pairs, made in parallel and kept one after the other.

use rayon::prelude::*;

use crate::{Context, Result};

/// Rows made between two questions "go on?".
const BLOCK: usize = 2048;
/// Rows one worker makes at a time.
const CHUNK: usize = 64;

/// Where each of some rows ends, and their entries.
type Part = (Vec<usize>, Vec<(i32, f32)>);

/// Row `i` is `entries[ptr[i]..ptr[i + 1]]`, columns ascending.
pub(crate) struct SparseRows {
    ptr: Vec<usize>,
    entries: Vec<(i32, f32)>,
}

impl SparseRows {
    /// `n` rows; `fill` appends row `i`, its columns ascending, to what it is given. Each worker owns a state made by `init`.
    pub(crate) fn build<S>(
        n: usize,
        stage: &'static str,
        context: &Context<'_>,
        init: impl Fn() -> S + Sync + Send,
        fill: impl Fn(&mut S, usize, &mut Vec<(i32, f32)>) + Sync + Send,
    ) -> Result<Self> {
        let mut rows = Self {
            ptr: vec![0],
            entries: Vec::new(),
        };
        rows.ptr.reserve_exact(n);
        for lo in (0..n).step_by(BLOCK) {
            context.tick(lo, n, stage)?;
            let block: Vec<usize> = (lo..n.min(lo + BLOCK)).collect();
            let parts: Vec<Part> = context.install(|| {
                block
                    .par_chunks(CHUNK)
                    .map_init(&init, |state, chunk| {
                        let mut entries = Vec::new();
                        let end = |&i: &usize| {
                            fill(state, i, &mut entries);
                            entries.len()
                        };
                        (chunk.iter().map(end).collect(), entries)
                    })
                    .collect()
            });
            for (ends, entries) in parts {
                let start = rows.entries.len();
                rows.ptr.extend(ends.iter().map(|end| start + end));
                rows.entries.extend(entries);
            }
        }
        context.tick(n, n, stage)?;
        Ok(rows)
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.ptr.len() - 1
    }

    /// Number of entries in all rows.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Row `i`.
    pub(crate) fn row(&self, i: usize) -> &[(i32, f32)] {
        &self.entries[self.ptr[i]..self.ptr[i + 1]]
    }

    /// The value in column `column` of row `i`, if it is stored.
    pub(crate) fn get(&self, i: usize, column: usize) -> Option<f32> {
        let row = self.row(i);
        let at = row
            .binary_search_by_key(&(column as i32), |&(j, _)| j)
            .ok()?;
        Some(row[at].1)
    }

    /// Columns as rows; as many columns as rows are taken for granted.
    pub(crate) fn transposed(&self, context: &Context<'_>) -> Result<Self> {
        let n = self.rows();
        let mut ptr = vec![0; n + 1];
        for &(column, _) in &self.entries {
            ptr[column as usize + 1] += 1;
        }
        for i in 0..n {
            ptr[i + 1] += ptr[i];
        }
        let mut next = ptr.clone();
        let mut entries = vec![(0, 0.0); self.entries.len()];
        for i in 0..n {
            if i % BLOCK == 0 {
                context.tick(i, n, "columns")?;
            }
            for &(column, value) in self.row(i) {
                let at = &mut next[column as usize];
                entries[*at] = (i as i32, value);
                *at += 1;
            }
        }
        context.tick(n, n, "columns")?;
        Ok(Self { ptr, entries })
    }
}
