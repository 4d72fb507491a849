//! Cannot-link pairs: samples that must not share a cluster.
//!
//! [`CannotLink`] keeps the pairs by rows in memory and time linear in them; [`Forbidden`] is what a growing cluster asks.

use rayon::prelude::*;

use crate::{Context, Error, Result, memory};

/// Pairs, or samples, passed between two questions "go on?".
pub(crate) const BLOCK: usize = 1 << 20;

/// Numbers by rows: row `i` is `columns[ptr[i]..ptr[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    ptr: Vec<usize>,
    pub(crate) columns: Vec<i32>,
}

impl Rows {
    /// `n` rows of what `entries(stage, put)` puts: asked once to count and once to store, `check` sees the number between.
    pub(crate) fn gather(
        n: usize,
        stages: [&'static str; 2],
        check: impl FnOnce(usize) -> Result<()>,
        entries: impl Fn(&'static str, &mut dyn FnMut(usize, usize)) -> Result<()>,
    ) -> Result<Self> {
        // While row i is filled, ptr[i + 1] is its next free place; full, its end and the start of row i + 1.
        let mut ptr = vec![0_usize; n + 2];
        entries(stages[0], &mut |row, _| ptr[row + 2] += 1)?;
        for i in 1..n + 2 {
            ptr[i] += ptr[i - 1];
        }
        check(ptr[n + 1])?;
        let mut columns = vec![0; ptr[n + 1]];
        entries(stages[1], &mut |row, column| {
            columns[ptr[row + 1]] = column as i32;
            ptr[row + 1] += 1;
        })?;
        ptr.pop();
        Ok(Self { ptr, columns })
    }

    pub(crate) fn len(&self) -> usize {
        self.ptr.len() - 1
    }

    pub(crate) fn row(&self, i: usize) -> &[i32] {
        &self.columns[self.ptr[i]..self.ptr[i + 1]]
    }

    /// Columns as rows, each ascending; as many columns as rows are taken for granted.
    pub(crate) fn transposed(&self, context: &Context<'_>) -> Result<Self> {
        let n = self.len();
        let stages = ["count rows", "order rows"];
        Self::gather(
            n,
            stages,
            |_| Ok(()),
            |stage, put| {
                let mut passed = BLOCK;
                for i in 0..n {
                    if passed >= BLOCK {
                        context.tick(i, n, stage)?;
                        passed = 0;
                    }
                    let row = self.row(i);
                    passed += 1 + row.len();
                    for &j in row {
                        put(j as usize, i);
                    }
                }
                context.tick(n, n, stage)
            },
        )
    }

    /// Keep each number of a row once, where rows are ascending.
    fn dedup(&mut self) {
        let mut kept = 0;
        let mut from = 0;
        for i in 0..self.len() {
            let to = self.ptr[i + 1];
            let start = kept;
            for at in from..to {
                let column = self.columns[at];
                if kept == start || self.columns[kept - 1] != column {
                    self.columns[kept] = column;
                    kept += 1;
                }
            }
            (from, self.ptr[i + 1]) = (to, kept);
        }
        self.columns.truncate(kept);
    }
}

/// Pairs of samples that must not share a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotLink(Rows);

impl CannotLink {
    /// Pairs of the samples `0..n` in any order; doubled and turned ones count once, those of a sample and itself not at all.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the first pair that is out of range; [`Error::TooLarge`]; [`Error::Interrupted`].
    pub fn new(pairs: &[[i32; 2]], n: usize, context: &Context<'_>) -> Result<Self> {
        let outside = |&i: &i32| i < 0 || i as usize >= n;
        if let Some(at) = pairs.iter().position(|pair| pair.iter().any(outside)) {
            let [i, j] = pairs[at];
            return Err(Error::Shape(format!(
                "cannot_link[{at}] is ({i}, {j}): samples are numbered from 0 to {}",
                n as i64 - 1
            )));
        }
        // Both directions, in rows as found and in order; later the rows, what is kept of them, and the same in one piece.
        let bytes = 24 * pairs.len() as u128 + 64 * n as u128;
        let what = format!("{} cannot-link pairs", pairs.len());
        memory::check(bytes, &what, "give fewer pairs")?;
        let each = |stage, put: &mut dyn FnMut(usize, usize)| {
            for (block, part) in pairs.chunks(BLOCK).enumerate() {
                context.tick(block * BLOCK, pairs.len(), stage)?;
                for &[i, j] in part.iter().filter(|pair| pair[0] != pair[1]) {
                    put(i as usize, j as usize);
                    put(j as usize, i as usize);
                }
            }
            context.tick(pairs.len(), pairs.len(), stage)
        };
        let stages = ["count links", "store links"];
        // The rows are symmetric: turning them only puts each in order.
        let mut rows = Rows::gather(n, stages, |_| Ok(()), each)?.transposed(context)?;
        rows.dedup();
        Ok(Self(rows))
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.0.len()
    }

    /// Samples that `i` must not be with, ascending.
    #[must_use]
    pub fn partners(&self, i: usize) -> &[i32] {
        self.0.row(i)
    }

    /// The links for which `keep(i, j)` says so; it must say the same of `(j, i)`.
    pub(crate) fn filtered(
        &self,
        context: &Context<'_>,
        keep: impl Fn(usize, usize) -> bool + Sync,
    ) -> Result<Self> {
        let n = self.samples();
        let blocks = context.blocks(n, 1 << 14, "relax links", |rows| {
            let kept = |i| {
                let row = self.partners(i).iter().copied();
                row.filter(|&j| keep(i, j as usize)).collect()
            };
            let rows = rows.into_par_iter().with_min_len(64);
            rows.map(kept).collect::<Vec<Vec<i32>>>()
        })?;
        let mut made = Rows {
            ptr: vec![0],
            columns: Vec::new(),
        };
        made.ptr.reserve_exact(n);
        for row in blocks.into_iter().flatten() {
            made.columns.extend(row);
            made.ptr.push(made.columns.len());
        }
        Ok(Self(made))
    }
}

/// Who may not join the cluster that grows: the one question that growing asks of a constraint.
///
/// Links are symmetric and a forbidden sample never joins, so that a member is never forbidden. Another rule, say one sample of a
/// group in each cluster, needs nothing but these three answers.
pub(crate) struct Forbidden<'a> {
    links: &'a CannotLink,
    /// Number of the last cluster that each sample was forbidden in, which spares clearing the marks.
    cluster: Vec<u32>,
    current: u32,
}

impl<'a> Forbidden<'a> {
    pub(crate) fn new(links: &'a CannotLink) -> Self {
        Self {
            links,
            cluster: vec![0; links.samples()],
            current: 0,
        }
    }

    /// An empty cluster: all may join. At most one for each sample.
    pub(crate) fn start(&mut self) {
        self.current += 1;
    }

    /// `i` has joined.
    pub(crate) fn join(&mut self, i: usize) {
        for &j in self.links.partners(i) {
            self.cluster[j as usize] = self.current;
        }
    }

    /// May `i` not join?
    pub(crate) fn refuses(&self, i: usize) -> bool {
        self.cluster[i] == self.current
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn links_are_a_set(
            n in 1_usize..20,
            pairs in prop::collection::vec([0_i32..20, 0..20], 0..60),
        ) {
            let pairs: Vec<[i32; 2]> = pairs.iter().map(|p| p.map(|i| i % n as i32)).collect();
            let pool = Context::pool(2).unwrap();
            let links = CannotLink::new(&pairs, n, &Context::quiet(&pool)).unwrap();
            for i in 0..n {
                let wanted: Vec<i32> = (0..n as i32)
                    .filter(|&j| j != i as i32 && (pairs.contains(&[i as i32, j]) || pairs.contains(&[j, i as i32])))
                    .collect();
                prop_assert_eq!(links.partners(i), wanted);
            }
        }
    }

    #[test]
    fn refuses_pairs_out_of_range_by_row() {
        let pool = Context::pool(1).unwrap();
        for bad in [[0, 3], [-1, 0]] {
            let error = CannotLink::new(&[[0, 1], bad], 3, &Context::quiet(&pool)).unwrap_err();
            let text = format!("cannot_link[1] is ({}, {})", bad[0], bad[1]);
            assert!(error.to_string().contains(&text), "{error}");
        }
        assert!(CannotLink::new(&[[0, 0]], 0, &Context::quiet(&pool)).is_err());
    }
}
