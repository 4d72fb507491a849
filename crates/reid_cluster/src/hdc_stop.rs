//! When HDC ends: the rounds so far, the rule of stopping, and the shortcut once a round has been seen before.

use crate::hdc::HdcParams;

/// What a round has found: with the centroids that it keeps, all that the next one depends on.
#[derive(Clone)]
pub(crate) struct Round {
    /// The label, `-2 - label` for outliers, -1 for samples in no cluster.
    pub(crate) code: Vec<i32>,
    pub(crate) scores: Vec<f32>,
    /// Clusters without an inlier, and their centroids.
    pub(crate) kept: Vec<(usize, Vec<f32>)>,
}

impl Round {
    pub(crate) fn labels(&self) -> impl Iterator<Item = i32> {
        self.code.iter().map(|&code| code.max(-1))
    }

    pub(crate) fn labels_all(&self) -> impl Iterator<Item = i32> {
        let label = |&code: &i32| if code < -1 { -2 - code } else { code };
        self.code.iter().map(label)
    }

    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.code == other.code && self.kept == other.kept
    }
}

/// The rule of stopping.
pub(crate) struct Stop {
    best: f64,
    waited: usize,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            best: f64::INFINITY,
            waited: 0,
        }
    }
}

impl Stop {
    /// Whether round `t`, counted from 0, is the last; asked once a round.
    pub(crate) fn after(&mut self, t: usize, shift: f64, params: &HdcParams) -> bool {
        if shift == 0.0 || t + 1 >= params.max_iter {
            return true;
        }
        if t < params.min_iter {
            return false;
        }
        if shift < self.best {
            (self.best, self.waited) = (shift, 0);
            return false;
        }
        self.waited += 1;
        self.waited > params.patience
    }
}

/// The rounds to come when the last one is as round `seen`: those after `seen` come again and again.
pub(crate) fn replay(
    seen: usize,
    rounds: &mut Vec<Round>,
    shifts: &mut Vec<f64>,
    stop: &mut Stop,
    params: &HdcParams,
) {
    let period = rounds.len() - 1 - seen;
    loop {
        let t = rounds.len();
        let again = t - period;
        shifts.push(shifts[again]);
        rounds.push(rounds[again].clone());
        if stop.after(t, shifts[t], params) {
            return;
        }
    }
}
