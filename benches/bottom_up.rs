//! One merge step of 5 % of the rows: from single rows, late in a run, with cameras as groups, and with other
//! options.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{BottomUpParams, Context, Linkage, Sizes, bottom_up};
use reid_cluster_benches::{DIM, features, pool};

fn step(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let mut group = c.benchmark_group("bottom_up");
    group.sample_size(10);
    for n in [3000, 6000, 12_936] {
        let x = features(n, DIM, 1);
        let params = BottomUpParams {
            n_merges: n / 20,
            ..BottomUpParams::default()
        };
        let merge = |labels: Option<&[i64]>, groups: Option<&[i64]>, params: &BottomUpParams| {
            bottom_up(
                black_box(x.matrix()),
                labels,
                groups,
                None,
                params,
                &context,
            )
            .unwrap_or_else(|e| panic!("{e}"))
        };
        let late = merge(
            None,
            None,
            &BottomUpParams {
                n_merges: n * 7 / 10,
                ..params
            },
        );
        let same = |&[i, j]: &[i32; 2]| x.pids[i as usize] == x.pids[j as usize];
        let right = late.pairs.iter().filter(|pair| same(pair)).count();
        assert!(
            2 * right > late.pairs.len(),
            "only {right} of {} merges join an identity",
            late.pairs.len()
        );
        group.throughput(Throughput::Elements((n * (n - 1) / 2) as u64));
        group.bench_function(format!("{n}/first"), |b| {
            b.iter(|| merge(None, None, &params));
        });
        group.bench_function(format!("{n}/late"), |b| {
            b.iter(|| merge(Some(&late.labels), None, &params));
        });
        group.bench_function(format!("{n}/cameras"), |b| {
            b.iter(|| merge(None, Some(&x.camids), &params));
        });
        let average = BottomUpParams {
            linkage: Linkage::Average,
            ..params
        };
        group.bench_function(format!("{n}/average_late"), |b| {
            b.iter(|| merge(Some(&late.labels), None, &average));
        });
        if n < 10_000 {
            let live = BottomUpParams {
                sizes: Sizes::Live,
                ..params
            };
            group.bench_function(format!("{n}/live"), |b| b.iter(|| merge(None, None, &live)));
        }
    }
}

criterion_group!(benches, step);
criterion_main!(benches);
