//! Any text parses or fails, and what parses is printed so that it parses to the same again. Used by
//! the fuzz target and by a test that replays the committed inputs.

use tenbin_promql::options::Features;
use tenbin_promql::{parse, prettify, print};

/// Nothing is switched off.
fn features() -> Features {
    Features {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
        ..Features::default()
    }
}

pub(crate) fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let features = features();
    let Ok(expr) = parse(text, &features) else {
        return;
    };
    let printed = print(&expr);
    let again = parse(&printed, &features);
    let again = again.unwrap_or_else(|e| panic!("{text:?} is printed as {printed:?}: {e}"));
    assert_eq!(print(&again), printed, "of {text:?}");
    let pretty = prettify(&expr);
    let again = parse(&pretty, &features);
    let again = again.unwrap_or_else(|e| panic!("{text:?} is prettified as {pretty:?}: {e}"));
    assert_eq!(print(&again), printed, "of {text:?} prettified");
}
