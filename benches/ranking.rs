//! Retrieval metrics of a query and a gallery set of Market-1501's size, and of few identities with many matches each.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{Context, Identities, Ignored, evaluate_features};
use reid_cluster_benches::{DIM, features, pool};

fn metrics(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let mut group = c.benchmark_group("ranking");
    group.sample_size(10);
    for (name, queries, gallery, d) in [("small", 600, 3000, DIM), ("market", 3368, 15_913, DIM)] {
        let x = features(queries + gallery, d, 1);
        let (q, g) = x.data.split_at(queries * d);
        let matrix =
            |data, n| reid_cluster::Matrix::new(data, n, d).unwrap_or_else(|e| panic!("{e}"));
        let (q, g) = (matrix(q, queries), matrix(g, gallery));
        // Rows are sorted by identity; spread both over the two sets.
        let spread = |pids: &[i64]| pids.iter().map(|pid| pid % 97).collect::<Vec<i64>>();
        let (q_pids, g_pids) = (spread(&x.pids[..queries]), spread(&x.pids[queries..]));
        let ids = Identities {
            query: &q_pids,
            gallery: &g_pids,
            ignored: Ignored::SameCamera {
                query: &x.camids[..queries],
                gallery: &x.camids[queries..],
            },
        };
        let run = || {
            evaluate_features(black_box(q), g, &ids, 50, &context).unwrap_or_else(|e| panic!("{e}"))
        };
        assert_eq!(run().n_valid, queries);
        group.throughput(Throughput::Elements((queries * gallery) as u64));
        group.bench_function(name, |b| b.iter(run));
    }
}

criterion_group!(benches, metrics);
criterion_main!(benches);
