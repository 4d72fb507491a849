//! Who belongs to whose neighbourhood, and how much: steps 1 to 4 of the Jaccard distance (see `jaccard`).

use rayon::prelude::*;

use crate::jaccard::{Given, JaccardParams, Weights};
use crate::neighbors::check_shape;
use crate::product::squared_norms;
use crate::sparse::SparseRows;
use crate::{Context, Error, Matrix, Result, knn};

/// Rows `V'`: how much each point belongs to the neighbourhood of the row's point.
pub(crate) fn neighborhoods(
    features: Matrix<'_>,
    params: &JaccardParams,
    neighbors: Option<Given<'_>>,
    context: &Context<'_>,
) -> Result<SparseRows> {
    let n = features.rows();
    check_shape(features, "features")?;
    let depth = Depths::new(params, n)?;
    let ranks = match neighbors {
        Some(given) => {
            features.check_finite("features", context)?;
            squared_norms(features, "features", context)?;
            context.install(|| checked(given, n, depth.long))?
        }
        None => knn(features, None, depth.long, context)?.indices, // which checks the same
    };
    let ranks = Ranks {
        ids: &ranks,
        stride: depth.long,
    };
    let sets = expanded(&ranks, &depth, context)?;
    let products = products(|i| features.row(i), &sets, context)?;
    drop(sets);
    let norms = match params.weights {
        Weights::Inner => vec![1.0; n],
        Weights::SquaredEuclidean => squares(|i| features.row(i), n, context),
    };
    let squared = |i: usize, j: usize, product| norms[i] + norms[j] - 2.0 * f64::from(product);
    let weights = weights(&products, squared, context)?;
    drop(products);
    averaged(weights, &ranks, depth.mean, context)
}

/// The expanded reciprocal set of each point; the values mean nothing.
pub(crate) fn expanded(
    ranks: &Ranks<'_>,
    depth: &Depths,
    context: &Context<'_>,
) -> Result<SparseRows> {
    let n = ranks.rows();
    let short = SparseRows::build(n, "reciprocal", context, Vec::new, |near, i, out| {
        ranks.reciprocal(i, depth.short, near);
        out.extend(near.iter().map(|&j| (j, 0.0)));
    })?;
    let lists = || (Vec::new(), Vec::new());
    SparseRows::build(n, "expansion", context, lists, |(near, set), i, out| {
        ranks.reciprocal(i, depth.long, near);
        expand(near, &short, set);
        out.extend(set.iter().map(|&j| (j, 0.0)));
    })
}

/// Scalar products of each row with its set; a pair in both sets is computed once.
pub(crate) fn products<'a>(
    row: impl Fn(usize) -> &'a [f32] + Sync,
    sets: &SparseRows,
    context: &Context<'_>,
) -> Result<SparseRows> {
    let n = sets.rows();
    let nothing = || ();
    let half = SparseRows::build(n, "weights", context, nothing, |(), i, out| {
        out.extend(sets.row(i).iter().map(|&(j, _)| {
            let other = j as usize;
            if other < i && sets.get(other, i).is_some() {
                (j, f32::NAN)
            } else {
                (j, dot(row(i), row(other)))
            }
        }));
    })?;
    SparseRows::build(n, "weights", context, nothing, |(), i, out| {
        out.extend(half.row(i).iter().map(|&(j, product)| {
            let mirrored = product.is_nan().then(|| half.get(j as usize, i));
            (j, mirrored.flatten().unwrap_or(product))
        }));
    })
}

/// `|x_i|^2`, with the bits that [`products`] gives a row and its copy.
pub(crate) fn squares<'a>(
    row: impl Fn(usize) -> &'a [f32] + Sync,
    n: usize,
    context: &Context<'_>,
) -> Vec<f64> {
    let square = |i| f64::from(dot(row(i), row(i)));
    context.install(|| (0..n).into_par_iter().map(square).collect())
}

/// Rows `V`: `exp(-distance(i, j, value)) / sum` over the entries `(j, value)` of row `i`.
pub(crate) fn weights(
    rows: &SparseRows,
    distance: impl Fn(usize, usize, f32) -> f64 + Sync,
    context: &Context<'_>,
) -> Result<SparseRows> {
    let n = rows.rows();
    SparseRows::build(n, "weights", context, Vec::new, |distances, i, out| {
        distances.clear();
        let entries = rows.row(i).iter();
        distances.extend(entries.map(|&(j, value)| (j, distance(i, j as usize, value))));
        softmax(distances, out);
    })
}

/// Each row replaced by the mean of the rows of its nearest `depth` neighbours.
pub(crate) fn averaged(
    weights: SparseRows,
    ranks: &Ranks<'_>,
    depth: usize,
    context: &Context<'_>,
) -> Result<SparseRows> {
    if depth == 1 {
        return Ok(weights);
    }
    let n = weights.rows();
    let sums = || (vec![0.0_f32; n], Vec::new());
    SparseRows::build(
        n,
        "query expansion",
        context,
        sums,
        |(sums, touched), i, out| {
            let rows = ranks.first(i, depth);
            for &t in rows {
                for &(l, v) in weights.row(t as usize) {
                    if sums[l as usize] == 0.0 {
                        touched.push(l);
                    }
                    sums[l as usize] += v;
                }
            }
            touched.sort_unstable();
            let count = rows.len() as f32;
            let mean = |l: i32| (l, std::mem::take(&mut sums[l as usize]) / count);
            out.extend(touched.drain(..).map(mean).filter(|&(_, v)| v > 0.0));
        },
    )
}

/// How many neighbours each step looks at, the point itself included.
pub(crate) struct Depths {
    pub(crate) long: usize,
    pub(crate) short: usize,
    pub(crate) mean: usize,
}

impl Depths {
    pub(crate) fn new(params: &JaccardParams, n: usize) -> Result<Self> {
        for (name, value) in [("k1", params.k1), ("k2", params.k2)] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be at least 1"));
            }
        }
        let itself = usize::from(!params.count_self);
        let k1 = params.k1.min(n - itself);
        let half = k1 / 2 + usize::from(k1 % 4 == 3); // halves round to even, as in the published code
        let long = k1 + itself;
        Ok(Self {
            long,
            short: long.min(half + 1),
            mean: long.min(params.k2),
        })
    }
}

/// Neighbour lists of equal length, the point itself first, -1 after the last.
pub(crate) struct Ranks<'a> {
    pub(crate) ids: &'a [i32], // (n, stride)
    pub(crate) stride: usize,
}

impl Ranks<'_> {
    fn rows(&self) -> usize {
        self.ids.len() / self.stride
    }

    /// The first `depth` neighbours of `i`, fewer where the list is short.
    fn first(&self, i: usize, depth: usize) -> &[i32] {
        let list = &self.ids[i * self.stride..][..depth];
        let end = list.iter().position(|&j| j < 0).unwrap_or(depth);
        &list[..end]
    }

    /// Neighbours of `i` that have `i` as a neighbour, ascending.
    fn reciprocal(&self, i: usize, depth: usize, out: &mut Vec<i32>) {
        out.clear();
        let mutual =
            |&&j: &&i32| self.ids[j as usize * self.stride..][..depth].contains(&(i as i32));
        out.extend(self.first(i, depth).iter().filter(mutual));
        out.sort_unstable();
    }
}

/// Lists of `depth` from those given: the point itself first, repeats and -1 left out.
fn checked(given: Given<'_>, n: usize, depth: usize) -> Result<Vec<i32>> {
    let columns = given.columns;
    if given.indices.len() != n * columns {
        return Err(Error::Shape(format!(
            "neighbors has {} entries in {columns} columns for {n} rows of features: give one list a row",
            given.indices.len()
        )));
    }
    if columns < depth {
        return Err(Error::Shape(format!(
            "neighbors has {columns} columns: k1 needs at least {depth}, the row itself among them"
        )));
    }
    let list = |i: usize| &given.indices[i * columns..][..depth];
    let wrong = |j: &i32| *j < -1 || *j >= n as i32;
    let bad = (0..n).into_par_iter().find_map_first(|i| {
        let column = list(i).iter().position(wrong)?;
        Some((i, column))
    });
    if let Some((i, column)) = bad {
        return Err(Error::Shape(format!(
            "neighbors[{i}, {column}] is {}: must be 0 to {}, or -1 for none",
            list(i)[column],
            n - 1
        )));
    }
    let mut ranks = vec![-1; n * depth];
    ranks
        .par_chunks_mut(depth)
        .enumerate()
        .for_each(|(i, out)| {
            out[0] = i as i32;
            let mut filled = 1;
            for &j in list(i) {
                if filled < depth && j >= 0 && !out[..filled].contains(&j) {
                    out[filled] = j;
                    filled += 1;
                }
            }
        });
    Ok(ranks)
}

/// `set` = `near` and the short sets of its members that lie in it by more than two thirds, ascending.
fn expand(near: &[i32], short: &SparseRows, set: &mut Vec<i32>) {
    set.clear();
    set.extend_from_slice(near);
    for &c in near {
        let candidates = short.row(c as usize);
        let inside = |&&(j, _): &&(i32, f32)| near.binary_search(&j).is_ok();
        if 3 * candidates.iter().filter(inside).count() > 2 * candidates.len() {
            set.extend(candidates.iter().map(|&(j, _)| j));
        }
    }
    set.sort_unstable();
    set.dedup();
}

/// `exp(-d) / sum`, counted from the nearest so that nothing overflows; weights that vanish in float32 are left out.
fn softmax(distances: &mut [(i32, f64)], out: &mut Vec<(i32, f32)>) {
    let nearest = distances.iter().map(|d| d.1).fold(f64::INFINITY, f64::min);
    for (_, d) in distances.iter_mut() {
        *d = (nearest - *d).exp();
    }
    let sum: f64 = distances.iter().map(|d| d.1).sum();
    let weights = distances.iter().map(|&(j, e)| (j, (e / sum) as f32));
    out.extend(weights.filter(|&(_, v)| v > 0.0));
}

/// Scalar product with one fixed order of sums, whichever row comes first.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let tail: f32 = xs
        .remainder()
        .iter()
        .zip(ys.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in xs.zip(ys) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_lists_are_checked_and_cleaned() {
        let columns = 3;
        let lists = |ids: &[i32]| {
            checked(
                Given {
                    indices: ids,
                    columns,
                },
                2,
                3,
            )
        };
        assert_eq!(lists(&[1, 0, 0, -1, -1, 0]).unwrap(), [0, 1, -1, 1, 0, -1]);
        let text = |ids: &[i32]| lists(ids).unwrap_err().to_string();
        assert!(text(&[0, 1, 2, 0, 0, 0]).contains("neighbors[0, 2] is 2"));
        assert!(text(&[0, 1, 0, -2, 0, 0]).contains("neighbors[1, 0] is -2"));
        assert!(text(&[0, 1, 0]).contains("3 entries in 3 columns for 2 rows"));
    }
}
