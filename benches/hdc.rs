//! HDC on a Jaccard graph, one round and sixteen, k-means++ on the same graph, and rows that are all equal.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{
    Context, Distances, HdcInit, HdcParams, JaccardParams, hdc, jaccard_graph, kmeans_plusplus,
};
use reid_cluster_benches::{DIM, equal_rows, features, pool};

const CLUSTERS: usize = 300;

fn rounds(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let x = features(6000, DIM, 1);
    let params = JaccardParams::default();
    let graph =
        jaccard_graph(x.matrix(), &params, 1.0, None, &context).unwrap_or_else(|e| panic!("{e}"));
    let graph = Distances::Sparse(graph);
    let uniforms: Vec<f64> = (0..7 * (CLUSTERS - 1))
        .map(|u| (f64::from(u as u32) * 0.618_034).fract())
        .collect();
    let choose = || {
        kmeans_plusplus(black_box(&graph), CLUSTERS, 0, &uniforms, &context)
            .unwrap_or_else(|e| panic!("{e}"))
    };
    let chosen: Vec<i64> = choose().into_iter().map(i64::from).collect();
    let run = |x: &reid_cluster_benches::Features, distances, max_iter| {
        let params = HdcParams {
            n_clusters: CLUSTERS,
            max_iter,
            ..HdcParams::default()
        };
        let init = HdcInit::Indices(&chosen);
        hdc(black_box(x.matrix()), distances, &init, &params, &context)
            .unwrap_or_else(|e| panic!("{e}"))
    };
    let found = run(&x, Some(&graph), 1);
    assert!((0..CLUSTERS as i64).all(|cluster| found.labels_all.contains(&cluster)));

    let mut group = c.benchmark_group("hdc");
    group.sample_size(10);
    group.throughput(Throughput::Elements(x.n as u64));
    group.bench_function("6000/k-means++", |b| b.iter(choose));
    for max_iter in [1, 16] {
        group.bench_function(format!("6000/{max_iter}_rounds"), |b| {
            b.iter(|| run(&x, Some(&graph), max_iter));
        });
    }
    let same = equal_rows(x.n, DIM);
    group.bench_function("6000/equal_rows", |b| {
        b.iter(|| run(&same, Some(&graph), 4));
    });
}

criterion_group!(benches, rounds);
criterion_main!(benches);
