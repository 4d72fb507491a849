//! Which samples were seen at the same time, and are therefore two people.
//!
//! Nobody is in two places at once, and two tracks seen at once by one camera are two people. So samples whose time spans
//! overlap, `start_i <= end_j + margin` and `start_j <= end_i + margin`, must not share a cluster (the time-overlapping
//! constraint of Xu et al., arXiv 2205.03124).
//!
//! The pairs are found by a sweep over the sorted starts: those that a span reaches follow it in one run. `O(M log M + pairs)`
//! time, where pairs that scope, exempt or a negative margin drop count too, and 12 bytes a pair.

use rayon::prelude::*;

use crate::constraints::{BLOCK, Rows};
use crate::{Context, Error, Result, memory};

/// A camera or clock that is not known.
const UNKNOWN: i64 = -1;

/// When, and where, each sample was seen.
#[derive(Debug, Clone, Copy)]
pub struct Spans<'a> {
    /// First moment, NaN where it is not known.
    pub start: &'a [f64],
    /// Last moment, which belongs to the span.
    pub end: &'a [f64],
    /// Camera, -1 where it is not known.
    pub camera: Option<&'a [i64]>,
    /// Clock that the times were read from, -1 where it is not known; without it one clock for all.
    pub clock: Option<&'a [i64]>,
}

/// Which pairs of cameras are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Two cameras.
    Cross,
    /// One camera.
    Same,
}

/// Parameters of [`time_overlap`].
#[derive(Debug, Clone, Copy)]
pub struct OverlapParams<'a> {
    /// Pairs of cameras looked at.
    pub scope: Scope,
    /// Time by which spans may miss each other; a negative one takes short overlaps for errors of the clocks.
    pub margin: f64,
    /// Pairs of cameras, in any order, whose views overlap, so that one person may be in both.
    pub exempt: &'a [[i64; 2]],
}

/// Pairs `i < j`, sorted, whose spans overlap.
///
/// A sample without a time or clock overlaps nothing, nor does one without a camera when cameras matter.
///
/// ```
/// use reid_cluster::{Context, OverlapParams, Scope, Spans, time_overlap};
///
/// let spans = Spans { start: &[0.0, 5.0, 9.0], end: &[5.0, 8.0, 9.0], camera: None, clock: None };
/// let params = OverlapParams { scope: Scope::All, margin: 0.0, exempt: &[] };
/// let pool = Context::pool(2)?;
/// assert_eq!(time_overlap(&spans, &params, &Context::quiet(&pool))?, [[0, 1]]);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for columns of different lengths, an infinite time or a span that ends before it starts;
/// [`Error::Parameter`] for a margin that is not finite, or cameras that are needed and not given; [`Error::TooLarge`] for pairs
/// that do not fit in memory; [`Error::Interrupted`].
pub fn time_overlap(
    spans: &Spans<'_>,
    params: &OverlapParams<'_>,
    context: &Context<'_>,
) -> Result<Vec<[i32; 2]>> {
    check(spans, params)?;
    let sweep = Sweep::new(spans, params, context)?;
    if sweep.nothing_is_dropped() {
        check_memory(sweep.reached())?;
    }
    let stages = ["count overlaps", "store overlaps"];
    // Rows of the later sample, turned, are rows of the earlier one with the later ones ascending.
    let each = |stage, put: &mut dyn FnMut(usize, usize)| {
        sweep.each_pair(stage, context, |i, j| put(j, i))
    };
    let rows = Rows::gather(spans.start.len(), stages, check_memory, each)?.transposed(context)?;
    let mut pairs = Vec::with_capacity(rows.columns.len());
    for i in 0..rows.len() {
        pairs.extend(rows.row(i).iter().map(|&j| [i as i32, j]));
    }
    Ok(pairs)
}

fn check(spans: &Spans<'_>, params: &OverlapParams<'_>) -> Result<()> {
    let n = spans.start.len();
    let columns = [
        ("end", Some(spans.end.len())),
        ("camera", spans.camera.map(<[i64]>::len)),
        ("clock", spans.clock.map(<[i64]>::len)),
    ];
    for (name, length) in columns {
        if let Some(length) = length.filter(|&length| length != n) {
            return Err(Error::Shape(format!(
                "{name} has {length} entries and start {n}: both need the same"
            )));
        }
    }
    if i32::try_from(n).is_err() {
        return Err(Error::Shape(format!(
            "start has {n} entries: at most {}",
            i32::MAX
        )));
    }
    for (i, (&start, &end)) in spans.start.iter().zip(spans.end).enumerate() {
        for (name, time) in [("start", start), ("end", end)] {
            if time.is_infinite() {
                return Err(Error::Shape(format!(
                    "{name}[{i}] is {time}: must be finite, or NaN where no time is known"
                )));
            }
        }
        if start > end {
            return Err(Error::Shape(format!(
                "end[{i}] is {end} and lies before start[{i}], {start}: swap them"
            )));
        }
    }
    if !params.margin.is_finite() {
        return Err(Error::parameter("margin", params.margin, "must be finite"));
    }
    if spans.camera.is_none() && (params.scope != Scope::All || !params.exempt.is_empty()) {
        let remedy = "give the camera of each sample, or scope=\"all\" and nothing exempt";
        return Err(Error::parameter("camera", "None", remedy));
    }
    Ok(())
}

fn check_memory(pairs: usize) -> Result<()> {
    memory::check(
        12 * pairs as u128,
        &format!("a list of {pairs} pairs that overlap"),
        "give a smaller margin or scope, or shorter spans",
    )
}

/// Samples by start, and how far each reaches.
struct Sweep<'a> {
    spans: &'a Spans<'a>,
    scope: Scope,
    margin: f64,
    /// Smaller camera first, sorted.
    exempt: Vec<[i64; 2]>,
    /// Samples with a known time by (clock, camera if only one is looked at, start, number).
    order: Vec<u32>,
    /// The sample at `a` reaches those at `a + 1..until[a]`.
    until: Vec<u32>,
}

impl<'a> Sweep<'a> {
    fn new(
        spans: &'a Spans<'a>,
        params: &OverlapParams<'_>,
        context: &Context<'_>,
    ) -> Result<Self> {
        let mut exempt: Vec<[i64; 2]> = params
            .exempt
            .iter()
            .map(|&[a, b]| [a.min(b), a.max(b)])
            .collect();
        exempt.sort_unstable();
        let mut sweep = Self {
            spans,
            scope: params.scope,
            margin: params.margin,
            exempt,
            order: Vec::new(),
            until: Vec::new(),
        };
        let mut order: Vec<u32> = (0..spans.start.len() as u32)
            .filter(|&i| !sweep.is_unknown(i as usize))
            .collect();
        context.install(|| {
            order.par_sort_unstable_by(|&a, &b| {
                let (i, j) = (a as usize, b as usize);
                let starts = spans.start[i].total_cmp(&spans.start[j]);
                sweep
                    .part(i)
                    .cmp(&sweep.part(j))
                    .then(starts)
                    .then(a.cmp(&b))
            });
        });
        let n = order.len();
        let mut until = Vec::with_capacity(n);
        for part in order.chunk_by(|&a, &b| sweep.part(a as usize) == sweep.part(b as usize)) {
            let first = until.len();
            for (at, &i) in part.iter().enumerate() {
                if (first + at) % (1 << 16) == 0 {
                    context.tick(first + at, n, "sweep")?;
                }
                let reach = spans.end[i as usize] + params.margin;
                let run = part[at + 1..].partition_point(|&j| spans.start[j as usize] <= reach);
                until.push((first + at + 1 + run) as u32);
            }
        }
        context.tick(n, n, "sweep")?;
        (sweep.order, sweep.until) = (order, until);
        Ok(sweep)
    }

    fn cameras_matter(&self) -> bool {
        self.scope != Scope::All || !self.exempt.is_empty()
    }

    fn camera(&self, i: usize) -> i64 {
        self.spans.camera.map_or(UNKNOWN, |camera| camera[i])
    }

    fn is_unknown(&self, i: usize) -> bool {
        self.spans.start[i].is_nan()
            || self.spans.end[i].is_nan()
            || self.spans.clock.is_some_and(|clock| clock[i] == UNKNOWN)
            || self.cameras_matter() && self.camera(i) == UNKNOWN
    }

    /// Only samples of one part are compared.
    fn part(&self, i: usize) -> (i64, i64) {
        let clock = self.spans.clock.map_or(0, |clock| clock[i]);
        (
            clock,
            if self.scope == Scope::Same {
                self.camera(i)
            } else {
                0
            },
        )
    }

    /// Number of pairs before any is dropped.
    fn reached(&self) -> usize {
        let runs = self.until.iter().enumerate();
        runs.map(|(a, &until)| until as usize - a - 1).sum()
    }

    /// With a margin of 0 or more, the one who starts later ends late enough, too.
    fn nothing_is_dropped(&self) -> bool {
        self.margin >= 0.0 && self.scope != Scope::Cross && self.exempt.is_empty()
    }

    fn keeps(&self, i: usize, j: usize) -> bool {
        let (a, b) = (self.camera(i), self.camera(j));
        self.spans.start[i] <= self.spans.end[j] + self.margin
            && (self.scope != Scope::Cross || a != b)
            && self.exempt.binary_search(&[a.min(b), a.max(b)]).is_err()
    }

    /// Call `f(i, j)`, `i < j`, for every pair.
    fn each_pair(
        &self,
        stage: &'static str,
        context: &Context<'_>,
        mut f: impl FnMut(usize, usize),
    ) -> Result<()> {
        let (n, all) = (self.order.len(), self.nothing_is_dropped());
        let mut passed = BLOCK;
        for (a, &i) in self.order.iter().enumerate() {
            if passed >= BLOCK {
                context.tick(a, n, stage)?;
                passed = 0;
            }
            let run = &self.order[a + 1..self.until[a] as usize];
            passed += 1 + run.len();
            for &j in run {
                let (i, j) = (i as usize, j as usize);
                if all || self.keeps(i, j) {
                    f(i.min(j), i.max(j));
                }
            }
        }
        context.tick(n, n, stage)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Times in quarters, 0 for none, and ids from -1.
    type Sample = (u8, u8, i64, i64);

    fn naive(
        spans: &Spans<'_>,
        scope: Scope,
        margin: f64,
        exempt: &[[i64; 2]],
        matter: bool,
    ) -> Vec<[i32; 2]> {
        let (camera, clock) = (spans.camera.unwrap(), spans.clock.unwrap());
        let linked = |i: usize, j: usize| {
            let known = |i: usize| clock[i] != -1 && !(matter && camera[i] == -1);
            let pair = [camera[i], camera[j]];
            let free = exempt.contains(&pair) || exempt.contains(&[pair[1], pair[0]]);
            spans.start[i] <= spans.end[j] + margin
                && spans.start[j] <= spans.end[i] + margin
                && known(i)
                && known(j)
                && clock[i] == clock[j]
                && !free
                && match scope {
                    Scope::All => true,
                    Scope::Cross => camera[i] != camera[j],
                    Scope::Same => camera[i] == camera[j],
                }
        };
        let n = spans.start.len();
        (0..n)
            .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
            .filter(|&(i, j)| linked(i, j))
            .map(|(i, j)| [i as i32, j as i32])
            .collect()
    }

    proptest! {
        #[test]
        fn overlaps_equal_the_definition(
            samples in prop::collection::vec((0_u8..40, 0_u8..12, -1_i64..4, -1_i64..2), 0..40),
            scope in prop::sample::select(vec![Scope::All, Scope::Cross, Scope::Same]),
            margin in -6_i8..6,
            exempt in prop::collection::vec([0_i64..4, 0..4], 0..3),
            threads in 1_usize..4,
        ) {
            let samples: Vec<Sample> = samples;
            let time = |quarters: u8| f64::from(quarters) / 4.0;
            let start: Vec<f64> = samples.iter().map(|s| if s.0 == 0 { f64::NAN } else { time(s.0) }).collect();
            let end: Vec<f64> = samples.iter().map(|s| time(s.0) + time(s.1)).collect();
            let camera: Vec<i64> = samples.iter().map(|s| s.2).collect();
            let clock: Vec<i64> = samples.iter().map(|s| s.3).collect();
            let spans = Spans { start: &start, end: &end, camera: Some(&camera), clock: Some(&clock) };
            let margin = f64::from(margin) / 4.0;
            let params = OverlapParams { scope, margin, exempt: &exempt };
            let pool = Context::pool(threads).unwrap();
            let found = time_overlap(&spans, &params, &Context::quiet(&pool)).unwrap();
            let matter = scope != Scope::All || !exempt.is_empty();
            prop_assert_eq!(found, naive(&spans, scope, margin, &exempt, matter));
        }
    }

    #[test]
    fn refuses_more_pairs_than_memory() {
        let n = 3_000_000;
        let spans = Spans {
            start: &vec![0.0; n],
            end: &vec![1.0; n],
            camera: None,
            clock: None,
        };
        let params = OverlapParams {
            scope: Scope::All,
            margin: 0.0,
            exempt: &[],
        };
        let pool = Context::pool(2).unwrap();
        let error = time_overlap(&spans, &params, &Context::quiet(&pool)).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }
}
