//! Holds a JSON value to a JSON Schema.

use serde_json::Value;

/// The form of `status --json`.
pub const STATUS_SCHEMA: &str = include_str!("../../schema/status.json");

/// Fails the test unless `value` is what `schema` describes.
#[track_caller]
pub fn assert_valid(schema: &str, value: &Value) {
    let schema: Value = serde_json::from_str(schema).expect("a schema");
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    if let Err(error) = jsonschema::draft202012::meta::validate(&schema) {
        panic!("the schema is none: {} {error}", error.instance_path());
    }
    let schema = jsonschema::draft202012::new(&schema).expect("a schema");
    let problems = schema.iter_errors(value);
    let problems: Vec<_> = problems
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
