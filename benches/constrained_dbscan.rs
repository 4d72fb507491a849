//! DBSCAN under cannot-link pairs at growing sizes, with every pair of a camera linked, and the pairs that overlap in time.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{
    CannotLink, ConstrainedParams, Context, Distances, JaccardParams, OverlapParams, Scope, Spans,
    constrained_dbscan, jaccard_graph, time_overlap,
};
use reid_cluster_benches::{features, pool};

/// As many pairs as give each of `n` samples ten links, spread by a multiplicative hash.
fn ten_each(n: usize) -> Vec<[i32; 2]> {
    let other = |p: usize| (p.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % n;
    (0..5 * n)
        .map(|p| [(p % n) as i32, other(p + 1) as i32])
        .collect()
}

fn labels(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let params = ConstrainedParams::default();
    let mut group = c.benchmark_group("constrained_dbscan");
    group.sample_size(20);
    for n in [4000, 8000, 16_000, 32_621] {
        let x = features(n, 256, 1);
        let graph = jaccard_graph(x.matrix(), &JaccardParams::default(), 0.6, None, &context)
            .unwrap_or_else(|e| panic!("{e}"));
        let graph = Distances::Sparse(graph);
        let run = |pairs: &[[i32; 2]], relaxed| {
            let params = ConstrainedParams { relaxed, ..params };
            CannotLink::new(black_box(pairs), n, &context)
                .and_then(|links| constrained_dbscan(&graph, &links, &params, &context))
                .unwrap_or_else(|e| panic!("{e}"))
        };
        let pairs = ten_each(n);
        let found = run(&pairs, None);
        let apart = |&[i, j]: &[i32; 2]| {
            i == j || found[i as usize] == -1 || found[i as usize] != found[j as usize]
        };
        assert!(pairs.iter().all(apart), "a cluster holds linked samples");
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(format!("{n}/ten_links_each"), |b| {
            b.iter(|| run(&pairs, None));
        });
        if n == 32_621 {
            group.bench_function(format!("{n}/relaxed"), |b| {
                b.iter(|| run(&pairs, Some(0.0)));
            });
            group.bench_function(format!("{n}/no_links"), |b| b.iter(|| run(&[], None)));
        }
        if n == 4000 {
            let alike = |i: usize, j: usize| x.camids[i] == x.camids[j];
            let pairs: Vec<[i32; 2]> = (0..n)
                .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
                .filter(|&(i, j)| alike(i, j))
                .map(|(i, j)| [i as i32, j as i32])
                .collect();
            group.bench_function(format!("{n}/cameras_linked"), |b| {
                b.iter(|| run(&pairs, None));
            });
        }
    }
}

fn overlaps(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let n = 100_000;
    let start: Vec<f64> = ten_each(n)[..n].iter().map(|p| f64::from(p[1])).collect();
    let end: Vec<f64> = (0..n).map(|i| start[i] + (i % 21) as f64).collect();
    let camera: Vec<i64> = (0..n as i64).map(|i| i % 6).collect();
    let spans = Spans {
        start: &start,
        end: &end,
        camera: Some(&camera),
        clock: None,
    };
    let mut group = c.benchmark_group("time_overlap");
    group.sample_size(20);
    group.throughput(Throughput::Elements(n as u64));
    for (name, scope) in [
        ("all", Scope::All),
        ("cross", Scope::Cross),
        ("same", Scope::Same),
    ] {
        let params = OverlapParams {
            scope,
            margin: 0.0,
            exempt: &[],
        };
        let run =
            || time_overlap(black_box(&spans), &params, &context).unwrap_or_else(|e| panic!("{e}"));
        assert!(run().is_sorted(), "pairs out of order");
        group.bench_function(format!("{n}/{name}"), |b| b.iter(run));
    }
}

criterion_group!(benches, labels, overlaps);
criterion_main!(benches);
