//! Lines over the sizes of states, as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

/// A line: what it is called, and its points.
pub struct Line<'a> {
    pub name: &'a str,
    pub points: Vec<(f64, f64)>,
}

const COLOURS: [RGBColor; 4] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 95, 14),
    RGBColor(44, 140, 60),
    RGBColor(120, 120, 120),
];

/// Draws lines over entries (a logarithmic scale), from zero up.
pub fn draw(path: &Path, title: &str, unit: &str, lines: &[Line<'_>]) -> Result<()> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let (mut left, mut right, mut top) = (f64::MAX, 1.0_f64, 0.0_f64);
    for (x, y) in points() {
        (left, right, top) = (left.min(x), right.max(x), top.max(y));
    }
    if left >= right {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
    let area = SVGBackend::new(path, (760, 400)).into_drawing_area();
    area.fill(&WHITE).map_err(|e| failed(&e))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((left..right).log_scale(), 0.0..top * 1.15)
        .map_err(|e| failed(&e))?;
    chart
        .configure_mesh()
        .x_desc("entries")
        .y_desc(unit)
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .light_line_style(WHITE)
        .draw()
        .map_err(|e| failed(&e))?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let points = line.points.clone();
        chart
            .draw_series(LineSeries::new(points.clone(), style).point_size(3))
            .map_err(|e| failed(&e))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::LowerLeft)
        .draw()
        .map_err(|e| failed(&e))?;
    area.present().map_err(|e| failed(&e))?;
    Ok(())
}

/// 1200000 is 1.2 M.
pub fn short(number: f64) -> String {
    let (scaled, end) = match number {
        n if n >= 1e9 => (n / 1e9, " G"),
        n if n >= 1e6 => (n / 1e6, " M"),
        n if n >= 1e4 => (n / 1e3, " k"),
        n => (n, ""),
    };
    let text = if scaled >= 100.0 || (scaled >= 1.0 && scaled.fract() < 0.05) {
        format!("{scaled:.0}")
    } else if scaled >= 1.0 {
        format!("{scaled:.1}")
    } else {
        format!("{scaled:.3}")
    };
    format!("{text}{end}")
}
