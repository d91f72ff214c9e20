//! Tests of `scenario` across modules.

use squall::scenario::{Overrides, Plan, Source, load};

fn plan(text: &str) -> Plan {
    load(Source::Stdin(text.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn example(name: &str) -> Plan {
    load(Source::Example(name.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_examples_load() {
    for name in ["quickstart", "late-joiners", "bad-firmware"] {
        let plan = example(name);
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
        println!("{}\n{}", plan.hash, plan.resolved);
        let again = self::plan(&plan.resolved);
        assert_eq!(again.hash, plan.hash);
    }
}
