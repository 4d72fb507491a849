//! Sparse distances: a square matrix by compressed rows (CSR).
//!
//! Both directions of a pair are stored, so is a distance of zero. A pair that is missing is farther apart than anybody will ask;
//! a missing diagonal is zero.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::{Context, Error, Result};

/// Distances by rows: row `i` holds `indices[indptr[i]..indptr[i + 1]]`, ascending and each once.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph<'a> {
    pub(crate) indptr: Cow<'a, [i64]>,
    pub(crate) indices: Cow<'a, [i32]>,
    pub(crate) data: Cow<'a, [f32]>,
}

/// What is wrong with one stored entry.
enum Fault {
    Index(usize),
    Weight(usize),
    Twice(i32),
}

impl<'a> Graph<'a> {
    /// Check what comes from outside; rows out of order are sorted in a copy.
    ///
    /// ```
    /// use reid_cluster::{Context, Distances, Graph, dbscan};
    ///
    /// // Three points: 0 and 1 are at a distance of 0.2, both directions stored; 2 is far from both.
    /// let pool = Context::pool(1)?;
    /// let context = Context::quiet(&pool);
    /// let graph = Graph::new(&[0, 1, 2, 2], &[1, 0], &[0.2, 0.2], &context)?;
    /// assert_eq!(graph.row(1), (&[0][..], &[0.2][..]));
    /// assert_eq!(dbscan(&Distances::Sparse(graph), 0.5, 2, &context)?, [0, 0, -1]);
    /// # Ok::<(), reid_cluster::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] naming the place: `indptr` that does not start at 0, falls, or does not end at the number of entries; an
    /// index outside the rows; an entry stored twice; a weight that is negative or NaN.
    pub fn new(
        indptr: &'a [i64],
        indices: &'a [i32],
        data: &'a [f32],
        context: &Context<'_>,
    ) -> Result<Self> {
        check_indptr(indptr, indices.len())?;
        if indices.len() != data.len() {
            return Err(Error::Shape(format!(
                "distances.indices has {} entries and distances.data {}: both need the same",
                indices.len(),
                data.len()
            )));
        }
        let mut graph = Self {
            indptr: indptr.into(),
            indices: indices.into(),
            data: data.into(),
        };
        graph.check_rows(context, Self::bad_entry)?;
        let ordered = |i: usize| graph.row(i).0.is_sorted();
        if !context.install(|| (0..graph.rows()).into_par_iter().all(ordered)) {
            graph.sort_rows();
        }
        graph.check_rows(context, |graph, i| {
            let twice = graph.row(i).0.windows(2).find(|w| w[0] == w[1])?;
            Some(Fault::Twice(twice[0]))
        })?;
        Ok(graph)
    }

    /// Number of rows, which is the number of columns.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Columns and distances of row `i`.
    #[must_use]
    pub fn row(&self, i: usize) -> (&[i32], &[f32]) {
        let range = self.indptr[i] as usize..self.indptr[i + 1] as usize;
        (&self.indices[range.clone()], &self.data[range])
    }

    /// `indptr`, `indices` and `data`.
    #[must_use]
    pub fn into_parts(self) -> (Vec<i64>, Vec<i32>, Vec<f32>) {
        (
            self.indptr.into_owned(),
            self.indices.into_owned(),
            self.data.into_owned(),
        )
    }

    fn bad_entry(&self, i: usize) -> Option<Fault> {
        let (columns, weights) = self.row(i);
        let n = self.rows();
        let index = columns.iter().position(|&j| j < 0 || j as usize >= n);
        let weight = || weights.iter().position(|&w| w.is_nan() || w < 0.0);
        index
            .map(Fault::Index)
            .or_else(|| weight().map(Fault::Weight))
    }

    fn check_rows(
        &self,
        context: &Context<'_>,
        fault: impl Fn(&Self, usize) -> Option<Fault> + Sync,
    ) -> Result<()> {
        let n = self.rows();
        let found = context.blocks(n, 1 << 16, "check", |rows| {
            rows.into_par_iter()
                .find_map_first(|i| fault(self, i).map(|f| (i, f)))
        })?;
        let Some((i, fault)) = found.into_iter().flatten().next() else {
            return Ok(());
        };
        let (columns, weights) = self.row(i);
        Err(Error::Shape(match fault {
            Fault::Index(at) => format!(
                "distances row {i} has the column index {}: must be 0 to {}",
                columns[at],
                n - 1
            ),
            Fault::Weight(at) => format!(
                "distances[{i}, {}] is {}: a distance must be 0 or more",
                columns[at], weights[at]
            ),
            Fault::Twice(j) => {
                format!("distances[{i}, {j}] is stored twice: keep one, for example the smaller")
            }
        }))
    }

    fn sort_rows(&mut self) {
        let (indices, data) = (self.indices.to_mut(), self.data.to_mut());
        let mut row: Vec<(i32, f32)> = Vec::new();
        for bounds in self.indptr.windows(2) {
            let range = bounds[0] as usize..bounds[1] as usize;
            row.clear();
            row.extend(range.clone().map(|at| (indices[at], data[at])));
            row.sort_by_key(|entry| entry.0);
            for (at, &(j, w)) in range.zip(&row) {
                (indices[at], data[at]) = (j, w);
            }
        }
    }
}

fn check_indptr(indptr: &[i64], entries: usize) -> Result<()> {
    let wrong = |text: String| Err(Error::Shape(text));
    let (Some(&first), Some(&last)) = (indptr.first(), indptr.last()) else {
        return wrong("distances.indptr is empty: it needs one entry per row and one more".into());
    };
    if first != 0 {
        return wrong(format!("distances.indptr starts with {first}: must be 0"));
    }
    if let Some(i) = indptr.windows(2).position(|w| w[1] < w[0]) {
        let (from, to) = (indptr[i], indptr[i + 1]);
        return wrong(format!(
            "distances.indptr falls from {from} to {to} at row {i}: it must not fall"
        ));
    }
    if last as usize != entries {
        return wrong(format!(
            "distances.indptr ends with {last}: must be {entries}, the number of entries"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(indptr: &[i64], indices: &[i32], data: &[f32]) -> std::result::Result<String, String> {
        let pool = Context::pool(2).unwrap();
        match Graph::new(indptr, indices, data, &Context::quiet(&pool)) {
            Ok(graph) => Ok(format!("{:?} {:?}", graph.indices, graph.data)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn sorts_rows_and_keeps_zeros() {
        let sorted = new(&[0, 3, 3, 4], &[2, 0, 1, 1], &[0.5, 0.0, 0.0, 0.5]);
        assert_eq!(sorted.unwrap(), "[0, 1, 2, 1] [0.0, 0.0, 0.5, 0.5]");
    }

    #[test]
    fn refuses_broken_structure_by_name() {
        type Case<'a> = (&'a [i64], &'a [i32], &'a [f32], &'a str);
        let cases: [Case<'_>; 9] = [
            (&[], &[], &[], "indptr is empty"),
            (&[1, 1], &[], &[], "starts with 1"),
            (&[0, 2, 1], &[0], &[0.0], "falls from 2 to 1 at row 1"),
            (&[0, 1], &[0, 0], &[0.0, 0.0], "ends with 1: must be 2"),
            (&[0, 1], &[0], &[0.0, 0.0], "1 entries and distances.data 2"),
            (&[0, 1], &[1], &[0.0], "row 0 has the column index 1"),
            (&[0, 1], &[-1], &[0.0], "row 0 has the column index -1"),
            (&[0, 1], &[0], &[f32::NAN], "[0, 0] is NaN"),
            (&[0, 2, 2], &[1, 1], &[0.1, 0.2], "[0, 1] is stored twice"),
        ];
        for (indptr, indices, data, wanted) in cases {
            let text = new(indptr, indices, data).unwrap_err();
            assert!(text.contains(wanted), "{text}");
        }
        assert!(
            new(&[0, 1], &[0], &[-0.5])
                .unwrap_err()
                .contains("0 or more")
        );
    }
}
