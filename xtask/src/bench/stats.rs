//! Turns, and the medians and spreads of what they measure.

use std::time::Duration;

/// How often each one is measured, and how long.
#[derive(clap::Args)]
pub struct Turns {
    /// How often each one's turn comes
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// How long a turn is
    #[arg(long, default_value_t = 500)]
    pub milliseconds: u64,
}

impl Turns {
    /// No more than show that all works.
    pub fn shorten(&mut self) {
        self.rounds = self.rounds.min(3);
        self.milliseconds = self.milliseconds.min(200);
    }

    /// How long a turn is.
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

/// What several rounds measured.
#[derive(Clone, Debug, Default)]
pub struct Series(pub Vec<f64>);

impl Series {
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[len / 2],
            len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
        }
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Each round's figure divided by the baseline's of the same round.
    pub fn relative_to(&self, baseline: &Self) -> Self {
        Self(self.0.iter().zip(&baseline.0).map(|(figure, baseline)| figure / baseline).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(Series(vec![4.0, 1.0, 3.0, 2.0]).median(), 2.5);
        assert_eq!(Series(vec![3.0, 1.0, 2.0]).median(), 2.0);
    }
}
