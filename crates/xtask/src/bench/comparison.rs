//! The figures of two commits side by side.

use std::fmt::Display;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Which commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The other one.
    Before,
    /// This tree.
    After,
}

/// What was measured on both sides, in the order in which it came.
#[derive(Debug)]
pub struct Comparison {
    commits: [String; 2],
    machine: String,
    rows: Vec<Row>,
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Row {
    case: String,
    flows: u64,
    sides: [Runs; 2],
}

/// Nanoseconds per frame: all runs of all rounds, and of each round the median less the harness.
#[derive(Debug, Default)]
struct Runs {
    runs: Vec<f64>,
    nets: Vec<f64>,
}

#[derive(Debug)]
struct Figure {
    name: String,
    sides: [Vec<f64>; 2],
}

impl Comparison {
    /// Between these commits, the other one first.
    pub fn new(before: &str, after: &str) -> Comparison {
        Comparison {
            commits: [before, after].map(String::from),
            machine: String::new(),
            rows: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Takes in the figures of one measurement.
    ///
    /// # Errors
    ///
    /// When they are not of the form of `target/bench.json`.
    pub fn add(&mut self, side: Side, measured: &Value) -> Result<()> {
        self.machine = measured["machine"].as_str().context("no machine")?.into();
        for row in measured["rows"].as_array().context("no rows")? {
            let case = row["case"].as_str().context("a row without its case")?;
            let flows = row["flows"].as_u64().context("a row without its flows")?;
            let runs = row["runs"].as_array().context("a row without runs")?;
            let net = row["net"].as_f64().context("a row without net")?;
            let place = self.rows.iter().position(|row| row.case == case && row.flows == flows);
            let place = place.unwrap_or_else(|| {
                self.rows.push(Row { case: case.into(), flows, sides: Default::default() });
                self.rows.len() - 1
            });
            let of_side = &mut self.rows[place].sides[side as usize];
            of_side.runs.extend(runs.iter().filter_map(Value::as_f64));
            of_side.nets.push(net);
        }
        for figure in measured["figures"].as_array().context("no figures")? {
            let name = figure["figure"].as_str().context("a figure without its name")?;
            let value = figure["value"].as_f64().context("a figure without its value")?;
            let place = self.figures.iter().position(|figure| figure.name == name);
            let place = place.unwrap_or_else(|| {
                self.figures.push(Figure { name: name.into(), sides: Default::default() });
                self.figures.len() - 1
            });
            self.figures[place].sides[side as usize].push(value);
        }
        Ok(())
    }

    /// Two tables.
    pub fn markdown(&self) -> String {
        let [before, after] = &self.commits;
        let mut text = format!(
            "{}\n\nBefore: {before}. After: {after}.\n\nNanoseconds per 64-octet frame, least / median / most of all \
             runs; net = median less the harness; ratio = net after / net before.\n\n",
            self.machine
        );
        text += "| case | flows | before | net | after | net | ratio |\n";
        text += "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
        for Row { case, flows, sides: [before, after] } in &self.rows {
            let cells =
                [before, after].map(|side| format!("{} | {}", side.spread(), or_dash(median(&side.nets))));
            let ratio = or_dash(ratio(before, after));
            text += &format!("| {case} | {flows} | {} | {} | {ratio} |\n", cells[0], cells[1]);
        }
        text += "\n| figure | before | after |\n| --- | ---: | ---: |\n";
        for Figure { name, sides } in &self.figures {
            let [before, after] = sides.each_ref().map(|values| or_dash(median(values)));
            text += &format!("| {name} | {before} | {after} |\n");
        }
        text
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let figure = |Figure { name, sides: [before, after] }: &Figure| json!({ "figure": name, "before": median(before), "after": median(after) });
        let figures: Vec<Value> = self.figures.iter().map(figure).collect();
        let [before, after] = &self.commits;
        json!({ "machine": self.machine, "before": before, "after": after, "unit": "ns per frame",
                "rows": rows, "figures": figures })
    }
}

impl Row {
    fn json(&self) -> Value {
        let [before, after] = &self.sides;
        json!({ "case": self.case, "flows": self.flows, "before": before.json(), "after": after.json(),
                "ratio": ratio(before, after) })
    }
}

impl Runs {
    /// Least, median and most.
    fn three(&self) -> [Option<f64>; 3] {
        let least = self.runs.iter().copied().reduce(f64::min);
        let most = self.runs.iter().copied().reduce(f64::max);
        [least, median(&self.runs), most]
    }

    fn spread(&self) -> String {
        self.three().map(or_dash).join(" / ")
    }

    fn json(&self) -> Value {
        let [min, median_, max] = self.three();
        json!({ "min": min, "median": median_, "max": max, "net": median(&self.nets), "runs": self.runs })
    }
}

/// Net after by net before, to a hundredth; `None` if one of them is missing, or too small to divide by.
fn ratio(before: &Runs, after: &Runs) -> Option<f64> {
    let (before, after) = (median(&before.nets)?, median(&after.nets)?);
    (before >= 1.0).then(|| (after / before * 100.0).round() / 100.0)
}

/// The one in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(case: &str, runs: &[u32], net: i32, figure: &str) -> Value {
        json!({ "machine": "m", "rows": [{ "case": case, "flows": 16, "runs": runs, "net": net }],
                "figures": [{ "figure": figure, "value": 7 }] })
    }

    #[test]
    fn rows_are_beside_each_other_whatever_the_order_of_the_rounds() {
        let mut both = Comparison::new("old", "new");
        both.add(Side::Before, &measured("DR", &[50, 40, 90], 40, "x")).unwrap();
        both.add(Side::After, &measured("DR", &[30, 20, 25], 20, "y")).unwrap();
        both.add(Side::After, &measured("DR", &[26, 27], 18, "y")).unwrap();
        both.add(Side::Before, &measured("TUN", &[5], 0, "x")).unwrap();
        let text = both.markdown();
        assert!(text.contains("| DR | 16 | 40 / 50 / 90 | 40 | 20 / 26 / 30 | 20 | 0.5 |"), "{text}");
        assert!(text.contains("| TUN | 16 | 5 / 5 / 5 | 0 | - / - / - | - | - |"), "{text}");
        assert!(text.contains("| x | 7 | - |") && text.contains("| y | - | 7 |"), "{text}");
        assert_eq!(both.json()["rows"][0]["ratio"], 0.5);
        assert_eq!(both.json()["rows"][0]["after"]["max"], 30.0);
    }

    #[test]
    fn figures_of_another_form_are_refused() {
        let mut both = Comparison::new("old", "new");
        assert!(both.add(Side::Before, &json!({ "machine": "m", "rows": [{}] })).is_err());
        assert!(both.add(Side::Before, &json!([])).is_err());
    }
}
