//! `docs/benchmarks.svg`: Sockway and the peers relative to the limit, one bar each. Readable on light and dark pages.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::servers::Kind;
use crate::table::{Row, number};

const WIDTH: f64 = 860.0;
const BARS_FROM: f64 = 150.0;
/// The range of the bars: factors from 1/4 to 64, on a logarithmic scale.
const DOUBLINGS: (f64, f64) = (-2.0, 6.0);
const BAR: f64 = 16.0;

const STYLE: &str = "<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.limit { stroke: #57606a; stroke-dasharray: 3 3 }
.sockway { fill: #0969da } .node { fill: #8c959f } .nchan { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .limit { stroke: #9198a1 }
  .sockway { fill: #4493f8 } .node { fill: #767e88 } .nchan { fill: #545d68 }
}
</style>";

pub(crate) fn write(docs: &Path, rows: &[Row]) -> Outcome<()> {
    Ok(fs::write(docs.join("benchmarks.svg"), svg(rows))?)
}

fn svg(rows: &[Row]) -> String {
    let (mut y, mut body) = (24.0, String::new());
    body += &format!(
        "<text x=\"8\" y=\"{y}\" class=\"title\">Times the limit (dashed line), powers of two</text>\n"
    );
    for row in rows {
        let of = |kind| Some((kind, row.ratio_to_limit(kind)?.median));
        let bars: Vec<(Kind, f64)> =
            [Kind::Sockway, Kind::Node, Kind::Nchan].into_iter().filter_map(of).collect();
        if bars.is_empty() {
            continue;
        }
        y += 26.0;
        body += &format!(
            "<text x=\"8\" y=\"{y}\" class=\"title\">{} ({})</text>\n",
            row.what, row.unit
        );
        for (kind, ratio) in bars {
            y += BAR + 4.0;
            body += &bar(kind, ratio, y);
        }
    }
    let (height, limit) = (y + 20.0, place_of(1.0));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         aria-label=\"Sockway and its peers against the limit\">\n{STYLE}\n{body}\
         <line class=\"limit\" x1=\"{limit}\" x2=\"{limit}\" y1=\"34\" y2=\"{y}\"/>\n</svg>\n"
    )
}

fn bar(kind: Kind, ratio: f64, y: f64) -> String {
    let class = match kind {
        Kind::Sockway | Kind::Before => "sockway",
        Kind::Node => "node",
        Kind::Limit | Kind::Nchan => "nchan",
    };
    let (from, to) = (place_of(1.0).min(place_of(ratio)), place_of(1.0).max(place_of(ratio)));
    let (top, width) = (y - BAR + 4.0, (to - from).max(1.0));
    format!(
        "<text x=\"20\" y=\"{y}\">{}</text><rect class=\"{class}\" x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\
         <text x=\"{:.1}\" y=\"{y}\">{}</text>\n",
        kind.name(),
        to + 6.0,
        number(ratio)
    )
}

fn place_of(ratio: f64) -> f64 {
    let doublings = ratio.log2().clamp(DOUBLINGS.0, DOUBLINGS.1);
    let width = WIDTH - BARS_FROM - 60.0;
    BARS_FROM + width * (doublings - DOUBLINGS.0) / (DOUBLINGS.1 - DOUBLINGS.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stays_within_the_picture() {
        assert!(place_of(0.001) >= BARS_FROM && place_of(1e6) <= WIDTH - 60.0);
        assert!(place_of(0.5) < place_of(1.0) && place_of(1.0) < place_of(2.0));
    }
}
