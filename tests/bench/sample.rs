//! Measured times.

/// Times of one thing in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Sample(pub Vec<u64>);

impl Sample {
    /// The middle one; of an even number, the lower of the two.
    pub fn median(&self) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) / 2]
    }

    /// The shortest one.
    pub fn best(&self) -> u64 {
        *self.0.iter().min().expect("a time")
    }

    /// The longest one.
    pub fn worst(&self) -> u64 {
        *self.0.iter().max().expect("a time")
    }

    /// Median in milliseconds.
    pub fn millis(&self) -> f64 {
        self.median() as f64 / 1e6
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Short name, for `--only` and the JSON.
    pub name: String,
    /// What is measured.
    pub what: String,
    /// What it is measured beside.
    pub beside: &'static str,
    /// The value: nanoseconds, bytes or a number.
    pub value: Value,
    /// What is to be reached, in words, and whether it was.
    pub goal: String,
    /// Whether it was.
    pub reached: bool,
}

/// A value and its limit.
#[derive(Clone, Debug)]
pub enum Value {
    /// Times, and those of the limit where there is one.
    Time(Sample, Option<Sample>),
    /// Bytes, and the bytes that they are compared with.
    Size(u64, u64),
}

impl Value {
    /// Value over limit.
    pub fn ratio(&self) -> Option<f64> {
        match self {
            Self::Time(own, Some(limit)) => Some(own.median() as f64 / limit.median() as f64),
            Self::Time(_, None) => None,
            Self::Size(own, limit) => Some(*own as f64 / *limit as f64),
        }
    }
}
