//! Rows of (column, value) pairs, made in parallel and kept one after the other.

use crate::{Context, Result};

/// Rows turned between two questions "go on?".
const BLOCK: usize = 2048;
/// Rows one worker makes at a time.
const CHUNK: usize = 32;

/// Number of a chunk, where each of its rows ends, and their entries.
type Part = (usize, Vec<usize>, Vec<(i32, f32)>);

/// Row `i` is `entries[ptr[i]..ptr[i + 1]]`, columns ascending.
pub(crate) struct SparseRows {
    ptr: Vec<usize>,
    entries: Vec<(i32, f32)>,
}

impl SparseRows {
    /// `n` rows; `fill` appends row `i`, its columns ascending, to what it is given. Each worker owns a state made by `init`.
    pub(crate) fn build<S: Send>(
        n: usize,
        stage: &'static str,
        context: &Context<'_>,
        init: impl Fn() -> S + Sync,
        fill: impl Fn(&mut S, usize, &mut Vec<(i32, f32)>) + Sync,
    ) -> Result<Self> {
        let new = || (init(), Vec::<Part>::new());
        let workers = context.queue(n.div_ceil(CHUNK), stage, new, |(state, parts), chunk| {
            let mut entries = Vec::new();
            let end = |i| {
                fill(state, i, &mut entries);
                entries.len()
            };
            let rows = chunk * CHUNK..n.min((chunk + 1) * CHUNK);
            let ends = rows.map(end).collect();
            parts.push((chunk, ends, entries));
        })?;
        let mut parts: Vec<Part> = workers.into_iter().flat_map(|(_, parts)| parts).collect();
        parts.sort_unstable_by_key(|&(chunk, ..)| chunk);
        let mut rows = Self {
            ptr: vec![0],
            entries: Vec::new(),
        };
        rows.ptr.reserve_exact(n);
        rows.entries
            .reserve_exact(parts.iter().map(|(_, _, entries)| entries.len()).sum());
        for (_, ends, entries) in parts {
            let start = rows.entries.len();
            rows.ptr.extend(ends.iter().map(|end| start + end));
            rows.entries.extend(entries);
        }
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
