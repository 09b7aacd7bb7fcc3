//! Judges one check of one server by its results.

/// Counts results in a row until they change the verdict.
#[derive(Clone, Debug)]
pub struct Judge {
    rise: u32,
    fall: u32,
    /// None until the first result, which decides at once.
    verdict: Option<bool>,
    /// Results in a row against the verdict.
    against: u32,
}

/// What a result means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The verdict stands.
    Stands,
    /// The result is against the verdict, and there are not enough of these yet.
    Doubtful,
    /// There is a new verdict: the server is good, or not.
    New(bool),
}

impl Judge {
    /// Without a verdict. `rise` successes in a row make a bad server good, `fall` failures a good one bad.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, verdict: None, against: 0 }
    }

    /// Takes a result.
    pub fn hear(&mut self, good: bool) -> Ruling {
        if self.verdict == Some(good) {
            self.against = 0;
            return Ruling::Stands;
        }
        self.against += 1;
        let needed = match self.verdict {
            None => 1,
            Some(true) => self.fall,
            Some(false) => self.rise,
        };
        if self.against < needed {
            return Ruling::Doubtful;
        }
        self.verdict = Some(good);
        self.against = 0;
        Ruling::New(good)
    }
}

#[cfg(test)]
mod tests {
    use super::Ruling::*;
    use super::*;

    #[test]
    fn results_in_a_row_decide() {
        let mut judge = Judge::new(2, 3);
        let heard: Vec<_> = [true, false, false, true, false, false, false, true, false, true, true, true]
            .into_iter()
            .map(|good| judge.hear(good))
            .collect();
        let expected = [
            New(true),
            Doubtful,
            Doubtful,
            Stands,
            Doubtful,
            Doubtful,
            New(false),
            Doubtful,
            Stands,
            Doubtful,
            New(true),
            Stands,
        ];
        assert_eq!(heard, expected);
    }

    #[test]
    fn the_first_result_decides_at_once() {
        assert_eq!(Judge::new(9, 9).hear(false), New(false));
        assert_eq!(Judge::new(9, 9).hear(true), New(true));
    }
}
