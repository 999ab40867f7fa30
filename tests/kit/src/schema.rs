//! Holds a JSON value to a JSON Schema, of which it knows what the project's schemas use and refuses
//! the rest.

use regex_lite::Regex;
use serde_json::{Map, Value};

/// The form of `status --json`.
pub const STATUS_SCHEMA: &str = include_str!("../../schema/status.json");

/// Fails the test unless `value` is what `schema` describes.
pub fn assert_valid(schema: &str, value: &Value) {
    let root: Value = serde_json::from_str(schema).expect("a schema");
    assert_eq!(
        root["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    check(&root, &root, value, "");
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) {
    for (keyword, rule) in object(schema) {
        let is_met = match keyword.as_str() {
            // They say nothing of what is no object: `null`, where the type allows it.
            "required" | "additionalProperties" if !value.is_object() => true,
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(pointer).expect(pointer), value, at);
                true
            }
            "const" => value == rule,
            "enum" => array(rule).contains(value),
            "type" if rule.is_array() => array(rule).iter().any(|rule| is_of_type(rule, value)),
            "type" => is_of_type(rule, value),
            "minimum" => value
                .as_f64()
                .is_none_or(|value| value >= rule.as_f64().unwrap()),
            "maximum" => value
                .as_f64()
                .is_none_or(|value| value <= rule.as_f64().unwrap()),
            "pattern" => {
                let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|value| pattern.is_match(value))
            }
            "required" => array(rule)
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some()),
            "additionalProperties" => {
                assert_eq!(rule, false, "{at}");
                let known = object(&schema["properties"]);
                object(value).keys().all(|name| known.contains_key(name))
            }
            "properties" => {
                for (name, schema) in object(rule) {
                    if let Some(value) = value.get(name) {
                        check(root, schema, value, &format!("{at}/{name}"));
                    }
                }
                true
            }
            "items" => {
                for (index, value) in array(value).iter().enumerate() {
                    check(root, rule, value, &format!("{at}/{index}"));
                }
                true
            }
            other => panic!("the schema uses {other}, which isn't checked here"),
        };
        assert!(is_met, "{at}: {keyword} {rule} isn't met by {value}");
    }
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("the schema has the type {other}"),
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}
