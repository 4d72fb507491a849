//! The centroids of HDC: which members of a cluster are outliers, and the means of the others.

use rayon::prelude::*;

use crate::hdc::HdcParams;
use crate::{Context, Matrix, Result};

/// Which samples are farther from their cluster than the rule allows; one alone never is, unless by a threshold.
pub(crate) fn outliers(labels: &[i32], scores: &[f32], params: &HdcParams) -> Vec<bool> {
    let mut limits = match params.threshold {
        Some(threshold) => vec![f64::from(threshold); params.n_clusters],
        None => limits(labels, scores, params),
    };
    limits.push(f64::INFINITY); // of samples in no cluster
    let limit = |label: i32| limits[usize::try_from(label).unwrap_or(params.n_clusters)];
    let pairs = labels.iter().zip(scores);
    pairs
        .map(|(&label, &score)| f64::from(score) > limit(label))
        .collect()
}

/// Mean and `n_sigma` standard deviations (of a sample, n - 1) of the scores of each cluster.
fn limits(labels: &[i32], scores: &[f32], params: &HdcParams) -> Vec<f64> {
    let mut members = vec![Vec::new(); params.n_clusters];
    for (&label, &score) in labels.iter().zip(scores) {
        if let Ok(cluster) = usize::try_from(label) {
            members[cluster].push(f64::from(score));
        }
    }
    let limit = |scores: &Vec<f64>| {
        // Equal scores are no outliers, whatever the rounding of their mean.
        if scores
            .windows(2)
            .all(|pair| pair[0].total_cmp(&pair[1]).is_eq())
        {
            return f64::INFINITY;
        }
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let squares = scores.iter().map(|score| (score - mean).powi(2));
        mean + f64::from(params.n_sigma) * (squares.sum::<f64>() / (n - 1.0)).sqrt()
    };
    members.iter().map(limit).collect()
}

/// Write the mean of each cluster with members over its row of `centroids`; sums are float64 in the order of the samples.
pub(crate) fn means(
    features: Matrix<'_>,
    labels: &[i32],
    normalize: bool,
    centroids: &mut [f32],
    context: &Context<'_>,
) -> Result<()> {
    let d = features.cols();
    let k = centroids.len() / d;
    let mut members = vec![Vec::new(); k];
    for (i, &label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
        members[label as usize].push(i);
    }
    let step = 16 * context.threads();
    let blocks = centroids.chunks_mut(step * d).zip(members.chunks(step));
    for (block, (rows, members)) in blocks.enumerate() {
        context.tick(block * step, k, "centroids")?;
        context.install(|| {
            let rows = rows.par_chunks_mut(d).zip(members).with_max_len(1);
            rows.filter(|(_, members)| !members.is_empty())
                .for_each(|(row, members)| mean(features, members, normalize, row));
        });
    }
    context.tick(k, k, "centroids")
}

fn mean(features: Matrix<'_>, members: &[usize], normalize: bool, out: &mut [f32]) {
    let mut sums = vec![0.0_f64; out.len()];
    for &i in members {
        for (sum, &x) in sums.iter_mut().zip(features.row(i)) {
            *sum += f64::from(x);
        }
    }
    let norm = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
    let divisor = if normalize && norm > 0.0 {
        norm
    } else {
        members.len() as f64
    };
    for (mean, sum) in out.iter_mut().zip(sums) {
        *mean = (sum / divisor) as f32;
    }
}
