//! Where HDC starts: labels and centroids by k-means++, or as given.

use rayon::prelude::*;

use crate::hdc::HdcParams;
use crate::hdc_centroids::means;
use crate::hdc_distance::{Planes, Tiles, View, nearest, tile};
use crate::kmeans_plusplus::{Draws, choose, fill_row};
use crate::neighbors::block;
use crate::{Context, Distances, Error, Matrix, Result};

/// Rows of the features against all candidates at a time.
const BLOCK: usize = 256;

/// The clusters that [`hdc`](crate::hdc) starts from.
#[derive(Debug, Clone, Copy)]
pub enum HdcInit<'a> {
    /// The samples that [`kmeans_plusplus`](crate::kmeans_plusplus) chooses with these numbers.
    PlusPlus {
        /// The first sample.
        first: usize,
        /// `(K - 1, L)` numbers in [0, 1), row-major.
        uniforms: &'a [f64],
    },
    /// A sample per cluster; the others join the nearest by the distances.
    Indices(&'a [i64]),
    /// A label per sample, 0 to K - 1; a cluster without a sample starts at sample 0.
    Labels(&'a [i64]),
    /// A centroid per cluster; samples join the nearest by the similarity.
    Centers(Matrix<'a>),
}

/// Labels and centroids.
pub(crate) fn start(
    features: Matrix<'_>,
    distances: Option<&Distances<'_>>,
    view: View<'_>,
    init: &HdcInit<'_>,
    params: &HdcParams,
    context: &Context<'_>,
) -> Result<(Vec<i32>, Vec<f32>)> {
    let (n, k) = (features.rows(), params.n_clusters);
    let chosen = match init {
        HdcInit::PlusPlus { first, uniforms } => {
            let draws = Draws::new(n, k, *first, uniforms)?;
            choose(n, &draws, context, |samples, rows| match distances {
                Some(distances) => {
                    context.install(|| {
                        let work = rows.par_chunks_mut(n).zip(samples);
                        work.for_each(|(row, &i)| fill_row(distances, i, row));
                    });
                    Ok(())
                }
                None => own_rows(view, samples, rows, context),
            })?
        }
        HdcInit::Indices(indices) => checked(indices, k, n, k, "sample")?,
        HdcInit::Labels(labels) => {
            let labels = checked(labels, n, k, k, "label")?;
            let mut centroids = features.row(0).repeat(k);
            means(
                features,
                &labels,
                params.normalize_centroids,
                &mut centroids,
                context,
            )?;
            return Ok((labels, centroids));
        }
        HdcInit::Centers(centers) => {
            if (centers.rows(), centers.cols()) != (k, features.cols()) {
                return Err(Error::Shape(format!(
                    "init has shape ({}, {}): centers need shape ({k}, {})",
                    centers.rows(),
                    centers.cols(),
                    features.cols()
                )));
            }
            centers.check_finite("init", context)?;
            let planes = Planes::new(*centers, "init", params.similarity, context)?;
            let labels = nearest(view, planes.view()?, context)?;
            return Ok((labels, centers.data().to_vec()));
        }
    };
    let rows: Vec<usize> = chosen.iter().map(|&i| i as usize).collect();
    let labels = match distances {
        Some(distances) => nearest_chosen(distances, &rows, context)?,
        None => nearest(view, view.pick(&rows).view()?, context)?,
    };
    let centroids = rows.iter().flat_map(|&i| features.row(i)).copied();
    Ok((labels, centroids.collect()))
}

/// `init` as int32, if it has `count` entries below `end`.
fn checked(init: &[i64], count: usize, end: usize, k: usize, what: &str) -> Result<Vec<i32>> {
    if init.len() != count {
        return Err(Error::Shape(format!(
            "init has {} entries: give {k} samples, or a label for each sample",
            init.len()
        )));
    }
    let inside = |&&i: &&i64| !(0..end as i64).contains(&i);
    match init.iter().find(inside) {
        Some(i) => Err(Error::Shape(format!(
            "init has the {what} {i}: must be 0 to {}",
            end - 1
        ))),
        None => Ok(init.iter().map(|&i| i as i32).collect()),
    }
}

/// The features' own distances of some samples to all, a row each.
fn own_rows(
    view: View<'_>,
    samples: &[usize],
    rows: &mut [f32],
    context: &Context<'_>,
) -> Result<()> {
    let (n, count) = (view.rows(), samples.len());
    let picked: Planes<'_> = view.pick(samples);
    let picked = picked.view()?;
    let new = || (Tiles::default(), Vec::new());
    let workers = context.queue(
        n.div_ceil(BLOCK),
        "k-means++",
        new,
        |(tiles, parts): &mut (Tiles, Vec<_>), b| {
            let r = block(b, BLOCK, n);
            let mut values = vec![0.0; r.len() * count];
            tile(picked, 0..count, view, r.clone(), tiles, &mut values);
            parts.push((r, values));
        },
    )?;
    for (r, values) in workers.into_iter().flat_map(|(_, parts)| parts) {
        for (row, values) in rows.chunks_exact_mut(n).zip(values.chunks_exact(r.len())) {
            row[r.clone()].copy_from_slice(values);
        }
    }
    Ok(())
}

/// The first of the chosen samples at the least distance from each sample.
fn nearest_chosen(
    distances: &Distances<'_>,
    chosen: &[usize],
    context: &Context<'_>,
) -> Result<Vec<i32>> {
    let (n, k) = (distances.rows(), chosen.len());
    let mut first = vec![u32::MAX; n];
    for (c, &i) in chosen.iter().enumerate().rev() {
        first[i] = c as u32;
    }
    let best = |row: &[f32]| (1..k).fold(0, |b, c| if row[c] < row[b] { c } else { b }) as i32;
    let blocks = context.blocks(n, (1_usize << 24).div_ceil(k), "nearest centers", |rows| {
        let new = || vec![0.0_f32; k];
        let rows = rows.into_par_iter().with_min_len(16);
        let labels = rows.map_init(new, |row, i| {
            match distances {
                Distances::Dense(matrix) => {
                    let line = matrix.row(i);
                    row.iter_mut().zip(chosen).for_each(|(d, &k)| *d = line[k]);
                }
                Distances::Sparse(graph) => {
                    row.fill(1.0);
                    let (columns, values) = graph.row(i);
                    let stored = columns
                        .iter()
                        .map(|&k| k as usize)
                        .zip(values.iter().copied());
                    for (k, d) in std::iter::once((i, 0.0)).chain(stored) {
                        if let Some(d_chosen) = row.get_mut(first[k] as usize) {
                            *d_chosen = d;
                        }
                    }
                }
            }
            best(row)
        });
        labels.collect::<Vec<i32>>()
    })?;
    Ok(blocks.concat())
}
