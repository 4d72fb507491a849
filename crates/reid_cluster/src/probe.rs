//! How many directions a sketch should have, or whether bounds pay at all: a guess of the cost from a sample. It
//! never changes a result.

use crate::candidates::FINE;
use crate::subspace::{Sample, multiply};
use crate::{Context, Matrix, Result};

/// Directions are added in steps of so many.
const DIMS_STEP: usize = 32;

/// Whether a few directions hold half of the spread of a small sample: a first look, at next to no cost.
pub(crate) fn concentrated(x: Matrix<'_>, context: &Context<'_>) -> Result<bool> {
    let Some(sample) = Sample::new(x, 512, DIMS_STEP, context)? else {
        return Ok(false);
    };
    let along = multiply(&sample.rows, &sample.directions, x.cols(), context)?;
    // Rows are scaled to a mean square of 1.
    let inside: f64 = along.iter().map(|&v| f64::from(v).powi(2)).sum();
    Ok(inside > 0.5 * (sample.rows.len() / x.cols()) as f64)
}

/// The number of directions that makes the search cheapest, from the bounds within a sample; `None` for a search
/// that is not cheaper than the full one.
pub(crate) fn dimensions(
    sample: &Sample,
    n: usize,
    k: usize,
    context: &Context<'_>,
) -> Result<Option<usize>> {
    const PROBES: usize = 64;
    /// Fine bounds for each that the sample foretells, as measured: pairs are asked for from both sides, limits fall only
    /// while the search goes on, and directions suit the sample better than other rows.
    const PASSES: f64 = 10.0;
    let d = sample.center.len();
    let (size, most) = (sample.rows.len() / d, sample.directions.len() / d);
    let along = multiply(&sample.rows, &sample.directions, d, context)?;
    let probes: Vec<usize> = (0..PROBES).map(|p| p * size / PROBES).collect();
    let chosen: Vec<f32> = probes
        .iter()
        .flat_map(|&p| &sample.rows[p * d..(p + 1) * d])
        .copied()
        .collect();
    let dots = multiply(&chosen, &sample.rows, d, context)?;
    let square = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>();
    let mut residues: Vec<f32> = sample.rows.chunks_exact(d).map(square).collect();
    let squares = residues.clone();
    // Of n rows k are wanted, hence of the sample:
    let rank = (k * size).div_ceil(n).min(size - 1);
    let limits: Vec<f32> = (probes.iter().zip(dots.chunks_exact(size)))
        .map(|(&p, dots)| {
            let others = dots.iter().zip(&squares);
            let mut row: Vec<f32> = others.map(|(dot, s)| squares[p] + s - 2.0 * dot).collect();
            *row.select_nth_unstable_by(rank, f32::total_cmp).1
        })
        .collect();
    let mut inside = vec![0.0_f32; PROBES * size];
    // What else a search with bounds does costs about a quarter.
    let (mut best, mut best_cost) = (None, 0.7);
    for lo in (0..most).step_by(DIMS_STEP) {
        let dims = most.min(lo + DIMS_STEP);
        let part: Vec<f32> = (along.chunks_exact(most))
            .flat_map(|row| &row[lo..dims])
            .copied()
            .collect();
        let width = dims - lo;
        let chosen: Vec<f32> = probes
            .iter()
            .flat_map(|&p| &part[p * width..(p + 1) * width])
            .copied()
            .collect();
        let more = multiply(&chosen, &part, width, context)?;
        inside.iter_mut().zip(&more).for_each(|(s, m)| *s += m);
        for (residue, row) in residues.iter_mut().zip(part.chunks_exact(width)) {
            *residue -= square(row);
        }
        let mut near = 0;
        for ((&p, &limit), inside) in probes.iter().zip(&limits).zip(inside.chunks_exact(size)) {
            let own = residues[p].max(0.0);
            for ((&dot, &residue), &s) in inside.iter().zip(&residues).zip(&squares) {
                let most = dot + (own * residue.max(0.0)).sqrt();
                near += usize::from(squares[p] + s - 2.0 * most <= limit);
            }
        }
        let rate = near as f64 / inside.len() as f64;
        // In floors: the products, the sketch, the fine bounds.
        let cost = dims as f64 * (1.0 / d as f64 + 2.0 / n as f64) + PASSES * FINE * rate;
        if cost < best_cost {
            (best, best_cost) = (Some(dims), cost);
        }
    }
    Ok(best)
}
