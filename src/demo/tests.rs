//! The rules in the binary are those beside it.

use std::collections::BTreeSet;
use std::path::Path;

use super::stage::SHIPPED;

#[test]
fn the_binary_carries_all_shipped_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut found = BTreeSet::new();
    for folder in [root.clone(), root.join("lists")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_file() && !name.ends_with(".test.yaml") {
                found.insert(name);
            }
        }
    }
    assert_eq!(
        SHIPPED.map(|(name, _)| name.to_owned()).into_iter().collect::<BTreeSet<_>>(),
        found
    );
    for (name, text) in SHIPPED {
        assert_eq!(std::fs::read_to_string(root.join(name)).unwrap(), text, "{name}");
    }
}
