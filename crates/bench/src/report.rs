//! Rows of figures, as Markdown and JSON.

use serde_json::{Value, json};

/// Nanoseconds per frame of one case.
pub struct Row {
    pub name: String,
    pub flows: u32,
    pub runs: Vec<u32>,
    /// The shim's median in the same round of measurements.
    pub shim: u32,
}

impl Row {
    /// Least, median and most.
    fn spread(&self) -> (u32, u32, u32) {
        let mut runs = self.runs.clone();
        runs.sort_unstable();
        let at = |i: usize| runs.get(i).copied().unwrap_or(0);
        (at(0), median(&self.runs), at(runs.len().saturating_sub(1)))
    }
}

/// The one in the middle; 0 of none.
pub fn median(runs: &[u32]) -> u32 {
    let mut runs = runs.to_vec();
    runs.sort_unstable();
    runs.get(runs.len() / 2).copied().unwrap_or(0)
}

/// All that was found out.
#[derive(Default)]
pub struct Report {
    pub rows: Vec<Row>,
    /// Other figures, by name and unit.
    pub facts: Vec<(String, f64)>,
}

impl Report {
    pub fn fact(&mut self, name: impl Into<String>, value: f64) {
        self.facts.push((name.into(), value));
    }

    pub fn markdown(&self, machine: &str) -> String {
        let mut text =
            format!("{machine}\n\nNanoseconds per 64-octet frame; net = median less the shim's.\n\n");
        text += "| case | flows | min | median | max | net |\n| --- | ---: | ---: | ---: | ---: | ---: |\n";
        for row in &self.rows {
            let (min, median, max) = row.spread();
            let net = i64::from(median) - i64::from(row.shim);
            text += &format!("| {} | {} | {min} | {median} | {max} | {net} |\n", row.name, row.flows);
        }
        text += "\n| figure | value |\n| --- | ---: |\n";
        for (name, value) in &self.facts {
            text += &format!("| {name} | {value} |\n");
        }
        text
    }

    pub fn json(&self, machine: &str) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let (min, median, max) = row.spread();
                let net = i64::from(median) - i64::from(row.shim);
                json!({ "case": row.name, "flows": row.flows, "min": min, "median": median, "max": max,
                        "net": net, "runs": row.runs })
            })
            .collect();
        let facts: Vec<Value> =
            self.facts.iter().map(|(name, value)| json!({ "figure": name, "value": value })).collect();
        json!({ "machine": machine, "unit": "ns per frame", "rows": rows, "figures": facts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_is_the_median_less_the_shim() {
        let row = Row { name: "x".into(), flows: 1, runs: vec![50, 40, 90], shim: 10 };
        let report = Report { rows: vec![row], facts: Vec::new() };
        assert!(report.markdown("m").contains("| x | 1 | 40 | 50 | 90 | 40 |"));
        assert_eq!(report.json("m")["rows"][0]["net"], 40);
    }
}
