//! The figures of `bench beside`: both directors fed with the same XDP frames.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The paths without a director, by their names: frames dropped by XDP, and made into skbs and dropped by tc.
const ALONE: [&str; 2] = ["XDP drop", "skb drop"];

/// A path each: instructions for a frame, in all and less what generator and drop take, and frames a second.
pub fn rows(measured: &[Value]) -> Result<Vec<Value>> {
    let find = |director: &str, path: &str| {
        let found =
            measured.iter().find(|figures| figures["director"] == director && figures["path"] == path);
        found.with_context(|| format!("no measurement of XDP frames: {director}, {path}"))
    };
    let number = |figures: &Value, name: &str| {
        figures[name].as_f64().with_context(|| format!("{figures} is not of a form that is known here"))
    };
    let alone = |path| number(find("none", path)?, "instructions");
    let [by_xdp, as_skb] = [alone(ALONE[0])?, alone(ALONE[1])?];
    let paths = measured.iter().filter(|figures| figures["director"] == "IPVS");
    paths
        .map(|theirs| {
            let path = theirs["path"].as_str().context("a measurement without its name")?;
            let both = [theirs, find("rlvs", path)?];
            let of = |name: &str| Ok::<_, anyhow::Error>([number(both[0], name)?, number(both[1], name)?]);
            let (whole, sent, arrived) = (of("instructions")?, of("sent")?, of("arrived")?);
            let net = [whole[0] - as_skb, whole[1] - by_xdp];
            let with_skb = whole[0] - by_xdp;
            let parts = [0, 1].map(|i| (100.0 * arrived[i] / sent[i]).round());
            Ok(json!({
                "path": path, "whole": whole, "instructions": net, "with_skb": with_skb,
                "ratio": hundredths(net[1] / net[0]), "ratio_with_skb": hundredths(net[1] / with_skb),
                "frames_per_second": whole.map(|instructions| (1e9 / instructions).round()),
                "faster": hundredths(whole[0] / whole[1]),
                "arrived": parts,
            }))
        })
        .collect()
}

/// A table of them.
pub fn markdown(rows: &[Value]) -> String {
    let mut text = String::from(
        "XDP frames, as a driver has them: instructions for a forwarded frame, less what generator and drop take. For IPVS the kernel makes \
         an skb of each: without that (it is part of generator and drop then), and with it. Frames a second of the whole path.\n\n\
         | path | IPVS | IPVS and its skb | rlvs | rlvs / IPVS | rlvs / IPVS and its skb | IPVS, frames/s | rlvs, frames/s | times | \
         arrived, % |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        let [net, rates, arrived] = ["instructions", "frames_per_second", "arrived"].map(|name| &row[name]);
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {}, {} |\n",
            row["path"].as_str().unwrap_or_default(),
            net[0],
            row["with_skb"],
            net[1],
            row["ratio"],
            row["ratio_with_skb"],
            rates[0],
            rates[1],
            row["faster"],
            arrived[0],
            arrived[1]
        );
    }
    text
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Vec<Value> {
        let one = |director, path, instructions: u32| json!({ "director": director, "path": path, "instructions": instructions, "sent": 200, "arrived": 199 });
        vec![
            one("none", "XDP drop", 2000),
            one("none", "skb drop", 3000),
            one("IPVS", "NAT", 7000),
            one("rlvs", "NAT", 2800),
        ]
    }

    #[test]
    fn each_is_measured_against_frames_dropped_in_its_own_form() {
        let rows = rows(&measured()).unwrap();
        assert_eq!(rows[0]["instructions"], json!([4000.0, 800.0]));
        let text = markdown(&rows);
        assert!(
            text.contains(
                "| NAT | 4000.0 | 5000.0 | 800.0 | 0.2 | 0.16 | 142857.0 | 357143.0 | 2.5 | 100.0, 100.0 |"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_is_an_error() {
        assert!(rows(&measured()[1..]).is_err());
        assert!(rows(&measured()[..3]).is_err());
        assert!(rows(&[]).is_err());
    }
}
