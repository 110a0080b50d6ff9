//! The figures of all scenarios, and how they are summed up.

use crate::servers::Kind;

/// One line of the table: the figure of every server, one for each turn.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
    pub(crate) figures: Vec<(Kind, Vec<f64>)>,
    /// A note on these figures.
    pub(crate) note: String,
}

#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Sockway's figure, divided by the limit's of the same pair.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// Sockway's figure itself.
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// The median, and the smallest and the largest.
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) smallest: f64,
    pub(crate) largest: f64,
}

impl Row {
    /// Figures of Sockway alone.
    pub(crate) fn of_sockway(
        what: String,
        unit: &'static str,
        target: Target,
        figures: Vec<f64>,
    ) -> Self {
        Self { what, unit, target, figures: vec![(Kind::Sockway, figures)], note: String::new() }
    }

    pub(crate) fn of(&self, kind: Kind) -> Option<Summary> {
        let (_, values) = self.figures.iter().find(|(of, _)| *of == kind)?;
        summary(values.clone())
    }

    /// Turn by turn, so that disturbances of the machine cancel out.
    pub(crate) fn ratio_to_limit(&self, kind: Kind) -> Option<Summary> {
        let values =
            |kind| self.figures.iter().find(|(of, _)| *of == kind).map(|(_, values)| values);
        let pairs = values(kind)?.iter().zip(values(Kind::Limit)?);
        summary(pairs.map(|(value, limit)| value / limit).collect())
    }

    /// Whether Sockway meets the target; `None` without a target or a figure.
    pub(crate) fn met(&self) -> Option<bool> {
        let ratio = self.ratio_to_limit(Kind::Sockway).map(|ratio| ratio.median);
        let figure = self.of(Kind::Sockway).map(|figure| figure.median);
        match self.target {
            Target::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Target::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Target::AtMost(most) => figure.map(|figure| figure <= most),
            Target::AtLeast(least) => figure.map(|figure| figure >= least),
            Target::None => None,
        }
    }

    pub(crate) fn target_in_words(&self) -> String {
        match self.target {
            Target::RatioAtMost(most) => format!("≤ {most} × limit"),
            Target::RatioAtLeast(least) => format!("≥ {least} × limit"),
            Target::AtMost(most) => format!("≤ {}", number(most)),
            Target::AtLeast(least) => format!("≥ {}", number(least)),
            Target::None => "–".to_owned(),
        }
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.met() {
            Some(true) => "met",
            Some(false) => "not met",
            None => "",
        }
    }
}

fn summary(mut values: Vec<f64>) -> Option<Summary> {
    values.sort_by(f64::total_cmp);
    let (smallest, largest) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    };
    Some(Summary { median, smallest, largest })
}

/// Three significant digits, with thousands separators.
pub(crate) fn number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        let digits = format!("{value:.0}");
        let groups: Vec<&str> = digits
            .as_bytes()
            .rchunks(3)
            .rev()
            .filter_map(|g| std::str::from_utf8(g).ok())
            .collect();
        return groups.join(",");
    }
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// `median (smallest … largest)`.
pub(crate) fn spread(summary: &Summary) -> String {
    let Summary { median, smallest, largest } = summary;
    if smallest == largest {
        return number(*median);
    }
    format!("{} ({} … {})", number(*median), number(*smallest), number(*largest))
}

/// The table as text.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let target = format!("target {} {}", row.target_in_words(), row.verdict());
        text += &format!("\n{} [{}]  {}\n", row.what, row.unit, target.trim_end());
        for (kind, _) in &row.figures {
            let figure = row.of(*kind).map_or("failed".to_owned(), |figure| spread(&figure));
            text += &format!("  {:<20} {figure:<34}", kind.name());
            if *kind != Kind::Limit
                && let Some(ratio) = row.ratio_to_limit(*kind)
            {
                text += &format!(" {} × limit", spread(&ratio));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        if !row.note.is_empty() {
            text += &format!("  {}\n", row.note);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let figures =
            vec![(Kind::Limit, vec![1.0, 10.0, 5.0]), (Kind::Sockway, vec![2.0, 10.0, 6.0])];
        let (what, unit, note) = (String::new(), "", String::new());
        let row = Row { what, unit, target: Target::RatioAtMost(1.05), figures, note };
        assert_eq!(row.ratio_to_limit(Kind::Sockway).map(|ratio| ratio.median), Some(1.2));
        assert_eq!(row.met(), Some(false));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.456, 12.34, 567.8, 1234.5, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.46", "12.3", "568", "1,234", "1,234,567"]);
    }
}
