//! The report: one row for each bar, the runs behind the ratios, as table and as JSON.

use std::fmt;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::pairs::{Comparison, Side};
use crate::{Error, Result};

/// Median and extremes of a few measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Middle value; the mean of the two middle ones of an even number.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// The spread of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Result<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Err(Error::new("nothing was measured"));
        };
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[half]
        } else {
            f64::midpoint(values[half - 1], values[half])
        };
        Ok(Self { median, min, max })
    }

    /// The spread of a figure measured once.
    pub fn single(value: f64) -> Self {
        Self { median: value, min: value, max: value }
    }
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    /// At least this much.
    AtLeast(f64),
    /// At most this much.
    AtMost(f64),
    /// Nothing: shown for information.
    None,
}

impl Floor {
    fn verdict(self, measured: f64) -> Verdict {
        let met = match self {
            Self::AtLeast(floor) => measured >= floor,
            Self::AtMost(floor) => measured <= floor,
            Self::None => return Verdict::Informative,
        };
        if met { Verdict::Met } else { Verdict::NotMet }
    }
}

/// Whether a figure reached its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did.
    Met,
    /// It did not.
    NotMet,
    /// It could not be measured; the remark says why.
    NotMeasured,
    /// It has no floor.
    Informative,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "ok",
            Self::NotMet => "NOT MET",
            Self::NotMeasured => "NOT MEASURED",
            Self::Informative => "-",
        })
    }
}

/// Unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Ratio of two systems.
    Times,
    /// A count.
    Count,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Percent, of one processor or of what was before.
    Percent,
    /// Millions of bytes per second.
    MegabytesPerSecond,
}

impl Unit {
    fn format(self, value: f64) -> String {
        match self {
            Self::Times => format!("{value:.2}x"),
            Self::Count => format!("{value:.2}"),
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Bytes => format!("{value:.1} B"),
            Self::Percent => format!("{value:.2} %"),
            Self::MegabytesPerSecond => format!("{value:.1} MB/s"),
        }
    }
}

/// One row: a figure, what it must reach, what it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bar {
    /// Name of the case, as given on the command line.
    pub case: String,
    /// What is measured.
    pub figure: String,
    /// Its unit.
    pub unit: Unit,
    /// What it must reach.
    pub floor: Floor,
    /// What was measured.
    pub measured: Option<Spread>,
    /// Whether that suffices: the median is judged.
    pub verdict: Verdict,
    /// Versions and durability of the systems behind the figure.
    pub systems: String,
    /// Why it was not measured, or what to know about it.
    pub remark: String,
}

impl Bar {
    /// A row for a figure that was measured.
    pub fn measured(
        case: &str,
        figure: impl Into<String>,
        unit: Unit,
        floor: Floor,
        spread: Spread,
    ) -> Self {
        Self {
            case: case.to_owned(),
            figure: figure.into(),
            unit,
            floor,
            measured: Some(spread),
            verdict: floor.verdict(spread.median),
            systems: String::new(),
            remark: String::new(),
        }
    }

    /// A row for a case that failed.
    pub fn failed(case: &str, error: &Error) -> Self {
        Self {
            case: case.to_owned(),
            figure: "the whole case".to_owned(),
            unit: Unit::Count,
            floor: Floor::None,
            measured: None,
            verdict: Verdict::NotMeasured,
            systems: String::new(),
            remark: error.to_string(),
        }
    }

    /// Names the systems behind the figure.
    #[must_use]
    pub fn on(mut self, systems: impl Into<String>) -> Self {
        self.systems = systems.into();
        self
    }

    /// Adds a remark.
    #[must_use]
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = remark.into();
        self
    }

    /// The row as one line of text.
    pub fn summary(&self) -> String {
        let [_, figure, floor, median, range, verdict, _, remark] = self.cells();
        let parts = [figure, median, range, floor, verdict, remark];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" | ")
    }

    fn cells(&self) -> [String; 8] {
        let floor = match self.floor {
            Floor::AtLeast(floor) => format!(">= {}", self.unit.format(floor)),
            Floor::AtMost(floor) => format!("<= {}", self.unit.format(floor)),
            Floor::None => String::new(),
        };
        let format = |value: fn(&Spread) -> f64| {
            self.measured
                .as_ref()
                .map_or_else(String::new, |spread| self.unit.format(value(spread)))
        };
        let range = match self.measured {
            Some(spread) if spread.min < spread.max => {
                format!("{} .. {}", self.unit.format(spread.min), self.unit.format(spread.max))
            }
            _ => String::new(),
        };
        [
            self.case.clone(),
            self.figure.clone(),
            floor,
            format(|spread| spread.median),
            range,
            self.verdict.to_string(),
            self.systems.clone(),
            self.remark.replace('\n', " "),
        ]
    }
}

/// The runs behind the ratios of one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Runs {
    /// Name of the case.
    pub case: String,
    /// What was sent.
    pub workload: String,
    /// Description of the system under test.
    pub ours: String,
    /// Description of what it is compared with.
    pub theirs: String,
    /// The pairs.
    pub comparison: Comparison,
}

impl Runs {
    fn rows(&self) -> Result<[[String; 8]; 2]> {
        let pairs = &self.comparison.pairs;
        let row = |system: &str, side: fn(&crate::pairs::Pair) -> Side| -> Result<_> {
            let median = |figure: fn(&Side) -> f64| -> Result<f64> {
                Ok(Spread::of(pairs.iter().map(|pair| figure(&side(pair))))?.median)
            };
            Ok([
                self.case.clone(),
                self.workload.clone(),
                system.to_owned(),
                format!("{:.0}", median(|side| side.operations_per_second)?),
                format!("{:.2}", median(|side| side.server_us)?),
                format!("{:.2}", median(|side| side.client_us)?),
                format!("{:.0}", median(|side| side.p50_us)?),
                format!("{:.0}", median(|side| side.p99_us)?),
            ])
        };
        Ok([row(&self.ours, |pair| pair.ours)?, row(&self.theirs, |pair| pair.theirs)?])
    }
}

/// Everything that one run of the suite found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where.
    pub environment: Environment,
    /// The rows.
    pub bars: Vec<Bar>,
    /// The runs behind them.
    pub runs: Vec<Runs>,
}

impl Report {
    /// Whether every floor was measured and met.
    pub fn is_met(&self) -> bool {
        self.bars.iter().all(|bar| matches!(bar.verdict, Verdict::Met | Verdict::Informative))
    }

    /// The rows with a floor as Markdown: what a README shows.
    pub fn to_short_markdown(&self) -> String {
        let mut rows = table(&SHORT_HEADER);
        for bar in self.bars.iter().filter(|bar| bar.floor != Floor::None) {
            let [_, figure, floor, median, range, verdict, ..] = bar.cells();
            rows.add_row([figure, floor, median, range, verdict]);
        }
        let mut systems: Vec<&str> =
            self.bars.iter().flat_map(|bar| bar.systems.split(" / ")).collect();
        systems.retain(|system| !system.is_empty());
        systems.sort_unstable();
        systems.dedup();
        format!("{}{}.\n\n{rows}\n", self.environment.sentence(), systems.join("; "))
    }

    /// The report as Markdown.
    pub fn to_markdown(&self) -> Result<String> {
        let mut bars = table(&BAR_HEADER);
        for bar in &self.bars {
            bars.add_row(bar.cells());
        }
        let mut runs = table(&RUN_HEADER);
        for run in &self.runs {
            for row in run.rows()? {
                runs.add_row(row);
            }
        }
        let mut text = self.environment.sentence();
        text += &format!("\n{bars}\n");
        if !self.runs.is_empty() {
            text += &format!("\n{runs}\n");
        }
        Ok(text)
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.to_vec());
    table
}

const BAR_HEADER: [&str; 8] =
    ["case", "figure", "floor", "median", "min .. max", "verdict", "systems", "remark"];

const SHORT_HEADER: [&str; 5] = ["figure", "floor", "median", "min .. max", "verdict"];

const RUN_HEADER: [&str; 8] =
    ["case", "workload", "system", "ops/s", "server us/op", "client us/op", "p50 us", "p99 us"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_values() {
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]).unwrap(),
            Spread { median: 2.0, min: 1.0, max: 3.0 }
        );
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median.to_bits(), 2.5_f64.to_bits());
        assert!(Spread::of([]).is_err());
    }

    #[test]
    fn a_floor_is_met_at_the_floor_and_missed_one_past_it() {
        assert_eq!(Floor::AtLeast(0.5).verdict(0.5), Verdict::Met);
        assert_eq!(Floor::AtLeast(0.5).verdict(0.49), Verdict::NotMet);
        assert_eq!(Floor::AtMost(80.0).verdict(80.0), Verdict::Met);
        assert_eq!(Floor::AtMost(80.0).verdict(80.1), Verdict::NotMet);
        assert_eq!(Floor::None.verdict(1.0), Verdict::Informative);
    }

    #[test]
    fn a_case_that_failed_fails_the_report() {
        let met = Bar::measured("a", "x", Unit::Times, Floor::AtLeast(1.0), Spread::single(2.0));
        let mut report = Report {
            environment: Environment::look(std::path::Path::new("/")),
            bars: vec![met],
            runs: Vec::new(),
        };
        assert!(report.is_met());
        report.bars.push(Bar::failed("b", &Error::new("no such\nprogram")));
        assert!(!report.is_met());
        let json = serde_json::to_string(&report).unwrap();
        let report: Report = serde_json::from_str(&json).unwrap();
        let text = report.to_markdown().unwrap();
        assert!(!report.to_short_markdown().contains("NOT MEASURED"));
        assert!(text.contains("NOT MEASURED") && text.contains("no such program"), "{text}");
    }
}
