//! No cluster stays empty: the samples with the weakest membership move to the empty clusters of HDC.
//!
//! In a pass the empty clusters, in ascending order, each get one sample, taken by ascending (membership, index). Samples of
//! clusters with fewer than five members come last, a sample alone in its cluster is never taken. A pass may empty another cluster,
//! then there is one more pass. It ends: who has been moved is alone, and as there are no more clusters than samples,
//! enough others are left.

/// Clusters with fewer members give a sample only when no other is left.
const PROTECTED: usize = 5;

/// Fill all empty clusters; `labels` -1 are samples in no cluster, which may be taken too.
///
/// `membership` orders the samples, `last` is the membership that protected samples count as. A moved sample gets
/// `discrepancy(sample, cluster)` as its score.
pub(crate) fn relocate(
    labels: &mut [i32],
    scores: &mut [f32],
    membership: &[i64],
    last: i64,
    n_clusters: usize,
    mut discrepancy: impl FnMut(usize, usize) -> f32,
) {
    let mut counts = vec![0_usize; n_clusters];
    for &label in labels.iter().filter(|&&label| label >= 0) {
        counts[label as usize] += 1;
    }
    loop {
        let empty: Vec<usize> = (0..n_clusters).filter(|&c| counts[c] == 0).collect();
        if empty.is_empty() {
            return;
        }
        let key = |i: usize| match usize::try_from(labels[i]).map(|c| counts[c]) {
            Ok(1) => None,
            Ok(2..PROTECTED) => Some((last, i)),
            _ => Some((membership[i], i)),
        };
        let mut order: Vec<(i64, usize)> = (0..labels.len()).filter_map(key).collect();
        order.sort_unstable();
        for (&(_, i), cluster) in order.iter().zip(empty) {
            if let Ok(donor) = usize::try_from(labels[i]) {
                counts[donor] -= 1;
            }
            labels[i] = cluster as i32;
            counts[cluster] += 1;
            scores[i] = discrepancy(i, cluster);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(labels: &mut [i32], membership: &[i64], n_clusters: usize) -> Vec<f32> {
        let mut scores = vec![0.0; labels.len()];
        let d = |i: usize, c: usize| (100 * i + c) as f32;
        relocate(labels, &mut scores, membership, 1000, n_clusters, d);
        scores
    }

    #[test]
    fn weakest_samples_of_large_clusters_go_first() {
        let mut labels = [0, 0, 0, 0, 0, 2, 2, 4];
        let scores = run(&mut labels, &[9, 3, 3, 9, 9, 0, 0, 0], 5);
        assert_eq!(labels, [0, 1, 3, 0, 0, 2, 2, 4]);
        assert_eq!(scores[1..3], [101.0, 203.0]);
    }

    #[test]
    fn an_emptied_donor_is_filled_in_another_pass() {
        // All five of cluster 0 leave for 1 to 5; then the first of the two in cluster 6 must go to 0.
        let mut labels = [6, 0, 0, 0, 0, 0, 6];
        run(&mut labels, &[5, 0, 0, 0, 0, 0, 5], 7);
        assert_eq!(labels, [0, 1, 2, 3, 4, 5, 6]);
    }

    proptest! {
        #[test]
        fn no_cluster_stays_empty(
            (n, given) in (1_usize..40).prop_flat_map(|n| (Just(n), prop::collection::vec((-1..n as i32, 0_i64..5), n))),
            part in 0.0..1.0_f64,
        ) {
            let k = 1 + (part * n as f64) as usize;
            let mut labels: Vec<i32> = given.iter().map(|&(l, _)| l.min(k as i32 - 1)).collect();
            let before = labels.clone();
            let membership: Vec<i64> = given.iter().map(|&(_, m)| m).collect();
            run(&mut labels, &membership, k);
            for c in 0..k as i32 {
                prop_assert!(labels.contains(&c));
                let old: Vec<usize> = (0..n).filter(|&i| before[i] == c).collect();
                if let [alone] = old[..] {
                    prop_assert_eq!(labels[alone], c);
                }
            }
        }
    }
}
