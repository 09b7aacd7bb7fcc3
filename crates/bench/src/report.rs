//! Rows of figures, as Markdown and JSON.

use std::path::Path;

use anyhow::{Context, Result};
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
    /// The median less the shim's.
    pub fn net(&self) -> i64 {
        i64::from(median(&self.runs)) - i64::from(self.shim)
    }

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

/// Figures that belong beside each other.
pub struct Table {
    pub title: &'static str,
    /// Of the first column, which names the rows.
    pub head: &'static str,
    pub columns: &'static [&'static str],
    pub rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("\n{}\n\n| {} | {} |\n", self.title, self.head, self.columns.join(" | "));
        text += &format!("| --- |{}\n", " ---: |".repeat(self.columns.len()));
        for (name, values) in &self.rows {
            let values: Vec<String> = values.iter().map(f64::to_string).collect();
            text += &format!("| {name} | {} |\n", values.join(" | "));
        }
        text
    }

    /// Each figure by a name that says where it stands.
    fn figures(&self) -> impl Iterator<Item = Value> {
        self.rows.iter().flat_map(move |(name, values)| {
            self.columns
                .iter()
                .zip(values)
                .map(move |(column, value)| json!({ "figure": format!("{name}: {column}"), "value": value }))
        })
    }
}

/// To so many digits after the point.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// All that was found out.
#[derive(Default)]
pub struct Report {
    pub rows: Vec<Row>,
    pub tables: Vec<Table>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// Other figures, by name and unit.
    pub facts: Vec<(String, f64)>,
}

impl Report {
    pub fn fact(&mut self, name: impl Into<String>, value: f64) {
        self.facts.push((name.into(), value));
    }

    /// Prints it, and writes it for programs into a file of this name in the project's `target`.
    pub fn publish(&self, name: &str) -> Result<()> {
        let machine = machine();
        println!("{}", self.markdown(&machine));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(name);
        std::fs::write(&path, format!("{:#}\n", self.json(&machine)))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn markdown(&self, machine: &str) -> String {
        let mut text = format!("{machine}\n");
        if !self.rows.is_empty() {
            text += "\nNanoseconds per 64-octet frame; net = median less the shim's.\n\n";
            text +=
                "| case | flows | min | median | max | net |\n| --- | ---: | ---: | ---: | ---: | ---: |\n";
        }
        for row in &self.rows {
            let (min, median, max) = row.spread();
            text += &format!("| {} | {} | {min} | {median} | {max} | {} |\n", row.name, row.flows, row.net());
        }
        text.extend(self.tables.iter().map(Table::markdown));
        if !self.facts.is_empty() {
            text += "\n| figure | value |\n| --- | ---: |\n";
        }
        for (name, value) in &self.facts {
            text += &format!("| {name} | {value} |\n");
        }
        text.extend(self.notes.iter().map(|note| format!("\n{note}\n")));
        text
    }

    fn json(&self, machine: &str) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let (min, median, max) = row.spread();
                json!({ "case": row.name, "flows": row.flows, "min": min, "median": median, "max": max,
                        "net": row.net(), "runs": row.runs })
            })
            .collect();
        let facts: Vec<Value> = (self.facts.iter())
            .map(|(name, value)| json!({ "figure": name, "value": value }))
            .chain(self.tables.iter().flat_map(Table::figures))
            .collect();
        json!({ "machine": machine, "unit": "ns per frame", "rows": rows, "figures": facts,
                "notes": self.notes })
    }
}

/// Processor and kernel.
fn machine() -> String {
    let name = rustix::system::uname();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(": ")).map_or("unknown processor", |(_, model)| model);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let (system, release) = (name.sysname().to_string_lossy(), name.release().to_string_lossy());
    format!("{model}, {cpus} CPUs, {system} {release}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_is_the_median_less_the_shim() {
        let row = Row { name: "x".into(), flows: 1, runs: vec![50, 40, 90], shim: 10 };
        let report = Report { rows: vec![row], ..Report::default() };
        assert!(report.markdown("m").contains("| x | 1 | 40 | 50 | 90 | 40 |"));
        assert_eq!(report.json("m")["rows"][0]["net"], 40);
    }
    #[test]
    fn a_tables_figures_are_named_by_row_and_column() {
        let rows = vec![("DR".into(), vec![1.5, 2.0])];
        let table = Table { title: "Two cores", head: "case", columns: &["one", "two"], rows };
        let report = Report { tables: vec![table], ..Report::default() };
        let text = report.markdown("m");
        assert!(
            text.contains("\nTwo cores\n\n| case | one | two |\n| --- | ---: | ---: |\n| DR | 1.5 | 2 |\n"),
            "{text}"
        );
        assert!(!text.contains("figure"), "{text}");
        assert_eq!(report.json("m")["figures"][1], json!({ "figure": "DR: two", "value": 2.0 }));
    }
}
