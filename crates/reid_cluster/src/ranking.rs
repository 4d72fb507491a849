//! Retrieval metrics under the Market-1501 rule: CMC, mean average precision, mean inverse negative penalty.
//!
//! A query ranks the gallery by distance. Gallery items of the query's own identity seen by its own camera are
//! removed, as are junk items (pid -1); what is left of its identity are its *positives*. With the positives
//! sorted, everything needed is how many items lie before each of them: of the items no farther than the last one, counted,
//! not ranked, unless the positives are many.
//!
//! * AP = `sum_k (R_k - R_(k-1)) * h_k` over the distinct distances; tied distances are one threshold. `h_k` is the
//!   precision `P_k` (step, today's usual definition) or `(P_k + P_(k-1)) / 2` from `(R, P) = (0, 1)` on (trapezoid, the
//!   toolkit of Zheng et al., ICCV 2015).
//! * CMC and INP rank by (distance, gallery index); INP = positives / rank of the last (Ye et al., TPAMI 2021).
//!
//! Cost: `Q * G * D` multiply-adds and less than `Q * G * 64` comparisons; memory for the distances of one block of queries, never `Q * G`.

use std::ops::Range;

use rayon::prelude::*;

use crate::neighbors::{check_shape, distance};
use crate::product::{Scratch, dots, squared_norms};
use crate::{Context, Error, Matrix, Result, memory};

/// Identity of pictures that count neither as right nor as wrong.
const JUNK: i64 = -1;
/// Queries ranked together: enough for the product to reuse what it has loaded.
const QUERIES: usize = 512;
/// Gallery rows of one product.
const TILE: usize = 1024;
/// Tiles a worker makes between two questions "go on?".
const TILES: usize = 2;
/// So many distances are counted one by one; for more the row is sorted.
const FEW: usize = 64;
/// Distances scored between two questions "go on?", as far as each worker gets a query.
const SCORED: usize = 1 << 21;
/// Values in the distances of a block of queries (256 MB), however large the gallery is.
const BLOCK_VALUES: usize = 1 << 26;

/// Which gallery items of the query's identity are left out.
#[derive(Debug, Clone, Copy)]
pub enum Ignored<'a> {
    /// Those seen by the query's own camera.
    SameCamera {
        /// Camera of each query.
        query: &'a [i64],
        /// Camera of each gallery item.
        gallery: &'a [i64],
    },
    /// Only the query itself: queries and gallery are the same pictures in the same order.
    Itself,
    /// None.
    Nothing,
}

/// Who is who in both sets.
#[derive(Debug, Clone, Copy)]
pub struct Identities<'a> {
    /// Identity of each query.
    pub query: &'a [i64],
    /// Identity of each gallery item; -1 is junk.
    pub gallery: &'a [i64],
    /// What is left out for each query.
    pub ignored: Ignored<'a>,
}

/// Metrics of all queries. Queries without a match are NaN in `ap` and `inp` and left out of every mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// Share of valid queries whose first match has at most rank 1, 2, ...
    pub cmc: Vec<f64>,
    /// Average precision of each query, the mean of the precision at each match.
    pub ap: Vec<f64>,
    /// The same as the area under the precision-recall curve by trapezoids, starting at recall 0, precision 1.
    pub ap_trapezoid: Vec<f64>,
    /// Inverse negative penalty of each query.
    pub inp: Vec<f64>,
    /// Mean of `ap`.
    pub map: f64,
    /// Mean of `ap_trapezoid`.
    pub map_trapezoid: f64,
    /// Mean of `inp`.
    pub minp: f64,
    /// Number of queries that have a match.
    pub n_valid: usize,
}

/// Rank by given distances (queries x gallery).
///
/// For each query the gallery items that `identities` ignores are left out; a tie in distance goes to the smaller gallery index, but
/// average precision takes it as one threshold.
///
/// ```
/// use reid_cluster::{Context, Identities, Ignored, Matrix, evaluate_rank};
///
/// // One query of identity 7; the nearest gallery item is right, the next is wrong, the last is right.
/// let distances = [0.1, 0.3, 0.2];
/// let identities = Identities { query: &[7], gallery: &[7, 7, 8], ignored: Ignored::Nothing };
/// let pool = Context::pool(1)?;
/// let found = evaluate_rank(
///     Matrix::new(&distances, 1, 3)?,
///     &identities,
///     2,
///     &Context::quiet(&pool),
/// )?;
/// assert_eq!(found.cmc, [1.0, 1.0]);
/// assert!((found.map - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
/// assert!((found.minp - 2.0 / 3.0).abs() < 1e-12);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// Sizes that do not fit, NaN or infinite distances, `max_rank` 0, no query with a match, interruption.
pub fn evaluate_rank(
    distances: Matrix<'_>,
    identities: &Identities<'_>,
    max_rank: usize,
    context: &Context<'_>,
) -> Result<Ranking> {
    identities.check(distances.rows(), distances.cols(), max_rank)?;
    distances.check_finite("distances", context)?;
    let items = Items::new(identities.gallery);
    let step = (SCORED / distances.cols().max(1)).max(context.threads());
    let blocks = context.blocks(distances.rows(), step, "rank", |queries| {
        queries
            .into_par_iter()
            .map_init(Vec::new, |row, query| {
                row.clear();
                // -0 becomes 0, so that both are one threshold.
                row.extend(distances.row(query).iter().map(|d| d + 0.0));
                identities.score(query, row, &items)
            })
            .collect::<Vec<_>>()
    })?;
    summary(&blocks.concat(), max_rank)
}

/// Rank by the squared Euclidean distances of features, the same values that [`knn`](crate::knn) gives; they are made in blocks of
/// queries and never all held. The example on the crate's first page uses it.
///
/// # Errors
/// Sizes that do not fit, NaN or infinity, norms beyond `f32`, `max_rank` 0, no query with a match, interruption.
pub fn evaluate_features(
    query: Matrix<'_>,
    gallery: Matrix<'_>,
    identities: &Identities<'_>,
    max_rank: usize,
    context: &Context<'_>,
) -> Result<Ranking> {
    if query.cols() != gallery.cols() {
        return Err(Error::Shape(format!(
            "query has {} columns, gallery has {}: both must come from the same model",
            query.cols(),
            gallery.cols()
        )));
    }
    check_shape(query, "query")?;
    check_shape(gallery, "gallery")?;
    identities.check(query.rows(), gallery.rows(), max_rank)?;
    query.check_finite("query", context)?;
    gallery.check_finite("gallery", context)?;
    let q_norms = squared_norms(query, "query", context)?;
    let g_norms = squared_norms(gallery, "gallery", context)?;
    let items = Items::new(identities.gallery);

    let (n, g) = (query.rows(), gallery.rows());
    let step = (BLOCK_VALUES / g).clamp(1, QUERIES);
    let mut tiles = vec![0.0; step.min(n) * g];
    let mut scores = Vec::with_capacity(n);
    for lo in (0..n).step_by(step) {
        let queries = lo..n.min(lo + step);
        let tiles = &mut tiles[..queries.len() * g];
        products(query, queries.clone(), gallery, tiles, context)?;
        let score = |row: &mut Vec<f32>, q: usize| {
            row.clear();
            for tile in tiles.chunks(queries.len() * TILE) {
                let width = tile.len() / queries.len();
                let dots = &tile[(q - lo) * width..][..width];
                let pairs = dots.iter().zip(&g_norms[row.len()..]);
                row.extend(pairs.map(|(&dot, &norm)| distance(q_norms[q], norm, dot)));
            }
            identities.score(q, row, &items)
        };
        let part = (SCORED / g).max(context.threads());
        for lo in queries.clone().step_by(part) {
            context.tick(queries.end, n, "rank")?;
            let part = (lo..queries.end.min(lo + part)).into_par_iter();
            scores.extend(context.install(|| part.map_init(Vec::new, score).collect::<Vec<_>>()));
        }
    }
    context.tick(n, n, "rank")?;
    summary(&scores, max_rank)
}

/// Products of some queries with the gallery, tile after tile, each (queries, up to [`TILE`]).
fn products(
    query: Matrix<'_>,
    queries: Range<usize>,
    gallery: Matrix<'_>,
    tiles: &mut [f32],
    context: &Context<'_>,
) -> Result<()> {
    let (tile, group, g) = (
        queries.len() * TILE,
        TILES * context.threads(),
        gallery.rows(),
    );
    for (part, tiles) in tiles.chunks_mut(tile * group).enumerate() {
        let left = part * group * TILE;
        let done = queries.start + queries.len() * left / g;
        context.tick(done, query.rows(), "rank")?;
        let fill = |scratch: &mut Scratch, (t, out): (usize, &mut [f32])| {
            let from = left + t * TILE;
            let columns = from..g.min(from + TILE);
            dots(query, queries.clone(), gallery, columns, scratch, out);
        };
        let tiles = tiles.par_chunks_mut(tile).enumerate();
        context.install(|| tiles.for_each_init(Scratch::default, fill));
    }
    Ok(())
}

/// Gallery items sorted by identity.
struct Items(Vec<(i64, usize)>);

impl Items {
    fn new(pids: &[i64]) -> Self {
        let mut items: Vec<_> = pids.iter().copied().zip(0..).collect();
        items.sort_unstable();
        Self(items)
    }

    /// The items of one identity, ascending.
    fn of(&self, pid: i64) -> impl Iterator<Item = usize> {
        let from = self.0.partition_point(|&(other, _)| other < pid);
        let until = self.0.partition_point(|&(other, _)| other <= pid);
        self.0[from..until].iter().map(|&(_, item)| item)
    }
}

/// What one query contributes.
#[derive(Debug, Clone, Copy)]
struct Score {
    ap: AveragePrecision,
    inp: f64,
    first: usize, // rank of the first match, from 1
}

/// Average precision by both definitions.
#[derive(Debug, Clone, Copy)]
struct AveragePrecision {
    step: f64,
    trapezoid: f64,
}

/// A distinct distance among the positives of one query.
struct Threshold {
    positives: usize, // at this distance
    closer: usize,    // valid items nearer
    reached: usize,   // valid items at most this far
}

impl Identities<'_> {
    fn check(&self, queries: usize, gallery: usize, max_rank: usize) -> Result<()> {
        let mut sizes = vec![
            ("q_pids", self.query.len(), queries, "queries"),
            ("g_pids", self.gallery.len(), gallery, "gallery items"),
        ];
        if let Ignored::SameCamera {
            query: q,
            gallery: g,
        } = self.ignored
        {
            sizes.push(("q_camids", q.len(), queries, "queries"));
            sizes.push(("g_camids", g.len(), gallery, "gallery items"));
        }
        for (name, found, wanted, what) in sizes {
            if found != wanted {
                return Err(Error::Shape(format!(
                    "{name} has {found} entries for {wanted} {what}: give one for each"
                )));
            }
        }
        if matches!(self.ignored, Ignored::Itself) && queries != gallery {
            return Err(Error::Shape(format!(
                "{queries} queries and {gallery} gallery items cannot be the same pictures: give camera ids"
            )));
        }
        if max_rank == 0 {
            return Err(Error::parameter("max_rank", max_rank, "must be at least 1"));
        }
        memory::check(12 * max_rank as u128, "the CMC curve", "lower max_rank")
    }

    /// Is this item, which has the query's identity, left out?
    fn ignores(&self, query: usize, item: usize) -> bool {
        match self.ignored {
            Ignored::SameCamera {
                query: q,
                gallery: g,
            } => q[query] == g[item],
            Ignored::Itself => query == item,
            Ignored::Nothing => false,
        }
    }

    /// Metrics of one query from its row of distances, `None` without a match. Overwrites the row.
    fn score(&self, query: usize, row: &mut [f32], items: &Items) -> Option<Score> {
        let pid = self.query[query];
        if pid == JUNK {
            return None;
        }
        for item in items.of(JUNK) {
            row[item] = f32::INFINITY;
        }
        let mut positives: Vec<(f32, usize)> = Vec::new();
        for item in items.of(pid) {
            if self.ignores(query, item) {
                row[item] = f32::INFINITY;
            } else {
                positives.push((row[item], item));
            }
        }
        positives.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (&first, &last) = (positives.first()?, positives.last()?);
        #[expect(clippy::float_cmp, reason = "ties are equal values")]
        let tied_until = |(distance, item): (f32, usize)| count(&row[..=item], |d| d == distance);
        let (first, last_tied) = (tied_until(first), tied_until(last));
        let near = keep_until(row, last.0);
        let thresholds = thresholds(&positives, &mut row[..near]);
        let before_last = thresholds[thresholds.len() - 1].closer;
        Some(Score {
            ap: average_precision(&thresholds, positives.len()),
            inp: positives.len() as f64 / (before_last + last_tied) as f64,
            first: thresholds[0].closer + first,
        })
    }
}

/// Move the values of at most `limit` to the front; how many they are.
fn keep_until(row: &mut [f32], limit: f32) -> usize {
    let mut kept = 0;
    for i in 0..row.len() {
        let value = row[i];
        row[kept] = value;
        kept += usize::from(value <= limit);
    }
    kept
}

/// Distinct distances of the sorted positives, ascending, with the items of the row counted. May sort the row.
fn thresholds(positives: &[(f32, usize)], row: &mut [f32]) -> Vec<Threshold> {
    let ties: Vec<&[(f32, usize)]> = positives.chunk_by(|a, b| a.0 >= b.0).collect();
    let many = ties.len() > FEW;
    if many {
        row.sort_unstable_by(f32::total_cmp);
    }
    let threshold = |tie: &&[(f32, usize)]| {
        let at = tie[0].0;
        let (closer, reached) = if many {
            (
                row.partition_point(|&d| d < at),
                row.partition_point(|&d| d <= at),
            )
        } else {
            (count(row, |d| d < at), count(row, |d| d <= at))
        };
        Threshold {
            positives: tie.len(),
            closer,
            reached,
        }
    };
    ties.iter().map(threshold).collect()
}

fn count(row: &[f32], f: impl Fn(f32) -> bool) -> usize {
    row.iter().map(|&d| u32::from(f(d))).sum::<u32>() as usize
}

fn average_precision(thresholds: &[Threshold], positives: usize) -> AveragePrecision {
    let (mut step, mut trapezoid, mut found) = (0.0, 0.0, 0);
    for t in thresholds {
        let before = if t.closer == 0 {
            1.0
        } else {
            found as f64 / t.closer as f64
        };
        found += t.positives;
        let after = found as f64 / t.reached as f64;
        let recall = t.positives as f64 / positives as f64;
        step += recall * after;
        trapezoid += recall * f64::midpoint(before, after);
    }
    AveragePrecision { step, trapezoid }
}

fn summary(scores: &[Option<Score>], max_rank: usize) -> Result<Ranking> {
    let valid: Vec<Score> = scores.iter().flatten().copied().collect();
    if valid.is_empty() {
        return Err(Error::Shape(
            "no query has a match in the gallery once its own camera and junk are left out: check q_pids, g_pids, q_camids, g_camids".into(),
        ));
    }
    let n = valid.len() as f64;
    let mut hits = vec![0_u32; max_rank];
    for score in &valid {
        if let Some(hit) = hits.get_mut(score.first - 1) {
            *hit += 1;
        }
    }
    let cmc = hits
        .iter()
        .scan(0, |sum, hit| {
            *sum += hit;
            Some(f64::from(*sum) / n)
        })
        .collect();
    let each = |value: fn(&Score) -> f64| -> Vec<f64> {
        let values = scores.iter().map(|s| s.as_ref().map_or(f64::NAN, value));
        values.collect()
    };
    let mean = |value: fn(&Score) -> f64| valid.iter().map(value).sum::<f64>() / n;
    Ok(Ranking {
        cmc,
        ap: each(|s| s.ap.step),
        ap_trapezoid: each(|s| s.ap.trapezoid),
        inp: each(|s| s.inp),
        map: mean(|s| s.ap.step),
        map_trapezoid: mean(|s| s.ap.trapezoid),
        minp: mean(|s| s.inp),
        n_valid: valid.len(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Straight from the definitions: sort everything, walk the list.
    fn naive(row: &[f32], query: usize, ids: &Identities<'_>) -> Option<([f64; 2], f64, usize)> {
        let pid = ids.query[query];
        let mut list: Vec<(f32, usize)> = (0..row.len())
            .filter(|&j| ids.gallery[j] != -1 && !(ids.gallery[j] == pid && ids.ignores(query, j)))
            .map(|j| (row[j], j))
            .collect();
        list.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let ranks: Vec<usize> = (0..list.len())
            .filter(|&r| ids.gallery[list[r].1] == pid)
            .map(|r| r + 1)
            .collect();
        let total = ranks.len() as f64;
        let (mut areas, mut recall, mut precision) = ([0.0, 0.0], 0.0, 1.0);
        for r in 0..list.len() {
            if list.get(r + 1).is_some_and(|next| next.0 == list[r].0) {
                continue;
            }
            let hits = ranks.iter().filter(|&&rank| rank <= r + 1).count() as f64;
            let (new_recall, new_precision) = (hits / total, hits / (r + 1) as f64);
            areas[0] += (new_recall - recall) * new_precision;
            areas[1] += (new_recall - recall) * f64::midpoint(precision, new_precision);
            (recall, precision) = (new_recall, new_precision);
        }
        ranks
            .first()
            .map(|&first| (areas, total / ranks[ranks.len() - 1] as f64, first))
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            rows in prop::collection::vec(prop::collection::vec(-4_i8..5, 12), 1..6),
            q in prop::collection::vec((-1_i64..4, 0_i64..3), 6),
            g in prop::collection::vec((-1_i64..4, 0_i64..3), 12),
            cameras: bool,
        ) {
            let data: Vec<f32> = rows.iter().flatten().map(|&v| f32::from(v) * 0.25).collect();
            let distances = Matrix::new(&data, rows.len(), 12).unwrap();
            let (q_pids, q_cams): (Vec<i64>, Vec<i64>) = q[..rows.len()].iter().copied().unzip();
            let (g_pids, g_cams): (Vec<i64>, Vec<i64>) = g.iter().copied().unzip();
            let ids = Identities {
                query: &q_pids,
                gallery: &g_pids,
                ignored: if cameras { Ignored::SameCamera { query: &q_cams, gallery: &g_cams } } else { Ignored::Nothing },
            };
            let pool = Context::pool(2).unwrap();
            let found = evaluate_rank(distances, &ids, 5, &Context::quiet(&pool));
            let wanted: Vec<_> = (0..rows.len()).map(|i| naive(distances.row(i), i, &ids)).collect();
            let valid: Vec<_> = wanted.iter().flatten().collect();
            prop_assert_eq!(found.is_err(), valid.is_empty());
            if let Ok(found) = found {
                for (i, score) in wanted.iter().enumerate() {
                    let ([ap, trapezoid], inp) = score.map_or(([f64::NAN; 2], f64::NAN), |s| (s.0, s.1));
                    let pairs = [(found.ap[i], ap), (found.ap_trapezoid[i], trapezoid), (found.inp[i], inp)];
                    for (found, wanted) in pairs {
                        prop_assert!(close(found, wanted) || (found.is_nan() && wanted.is_nan()));
                    }
                }
                for rank in 1..=5 {
                    let hits = valid.iter().filter(|s| s.2 <= rank).count();
                    prop_assert!(close(found.cmc[rank - 1], hits as f64 / valid.len() as f64));
                }
            }
        }
    }

    #[test]
    fn features_equal_their_distances_for_any_number_of_threads() {
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let (q, g): (Vec<f32>, Vec<f32>) = (
            (0..70 * 5).map(value).collect(),
            (0..1100 * 5).map(|i| value(i + 7)).collect(),
        );
        let (query, gallery) = (
            Matrix::new(&q, 70, 5).unwrap(),
            Matrix::new(&g, 1100, 5).unwrap(),
        );
        let q_pids: Vec<i64> = (0..70).map(|i| i % 9).collect();
        let g_pids: Vec<i64> = (0..1100).map(|i| i % 11 - 1).collect();
        let ids = Identities {
            query: &q_pids,
            gallery: &g_pids,
            ignored: Ignored::Nothing,
        };
        let exact: Vec<f32> = (0..70)
            .flat_map(|i| (0..1100).map(move |j| (i, j)))
            .map(|(i, j)| {
                query
                    .row(i)
                    .iter()
                    .zip(gallery.row(j))
                    .map(|(a, b)| (a - b) * (a - b))
                    .sum()
            })
            .collect();
        let distances = Matrix::new(&exact, 70, 1100).unwrap();
        let run = |threads| {
            let pool = Context::pool(threads).unwrap();
            evaluate_features(query, gallery, &ids, 10, &Context::quiet(&pool)).unwrap()
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(7));
        let pool = Context::pool(1).unwrap();
        let given = evaluate_rank(distances, &ids, 10, &Context::quiet(&pool)).unwrap();
        assert!((one.map - given.map).abs() < 1e-3 && one.n_valid == given.n_valid);
    }

    #[test]
    fn the_query_itself_is_left_out() {
        let data = [0.0, 1.0, 2.0];
        let features = Matrix::new(&data, 3, 1).unwrap();
        let pids = [4, 4, 5];
        let ids = Identities {
            query: &pids,
            gallery: &pids,
            ignored: Ignored::Itself,
        };
        let pool = Context::pool(1).unwrap();
        let found = evaluate_features(features, features, &ids, 2, &Context::quiet(&pool)).unwrap();
        assert_eq!(found.n_valid, 2);
        assert_eq!(found.ap[..2], [1.0, 0.5]); // 1 lies between 0 and 2: the tie is one threshold
        assert_eq!(found.cmc, [1.0, 1.0]);
        assert!(found.ap[2].is_nan());
    }
}
