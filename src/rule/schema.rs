//! The JSON Schema of rule files, for editors: shape and words; what spans several keys is
//! checked by [`load`](super::load) alone.

use serde_json::{Value, json};

/// JSON Schema (draft 2020-12) of one rule file. Every file that loads is valid by it.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tidegate rule file",
        "type": "object",
        "required": ["version"],
        "additionalProperties": false,
        "properties": {
            "version": { "const": 1 },
            "timezone": { "type": "string", "minLength": 1,
                "description": "IANA zone of every calendar window; default UTC" },
            "lists": { "type": "object", "additionalProperties": { "$ref": "#/$defs/list" } },
            "budget": { "$ref": "#/$defs/budget" },
            "rules": { "type": "array", "items": { "$ref": "#/$defs/rule" } }
        },
        "$defs": {
            "duration": { "type": "string", "pattern": "^0*[1-9][0-9]*(ms|s|m|h|d)$" },
            "kind": { "enum": ["issue", "redeem", "expire", "adjust", "reverse"] },
            "kinds": { "oneOf": [
                { "$ref": "#/$defs/kind" },
                { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/kind" } }
            ] },
            "severity": { "enum": ["info", "warning", "critical"], "default": "warning" },
            "measure": { "type": "string", "pattern":
                "^\\s*(count|(sum|max)\\s*\\(\\s*points\\s*\\)|distinct\\s*\\(\\s*(id|user|kind|points|source|device|ip|hour|weekday|attrs\\..+)\\s*\\))\\s*$" },
            "window": { "anyOf": [
                { "enum": ["day", "week", "month", "quarter", "year"] },
                { "$ref": "#/$defs/duration" }
            ] },
            "list": { "type": "object", "required": ["field"], "additionalProperties": false,
                "properties": {
                    "file": { "type": "string", "minLength": 1,
                        "description": "CSV file, relative to this file" },
                    "field": { "type": "string", "pattern": "^(user|device|ip|source|id|attrs\\..+)$" }
                } },
            "budget": { "type": "object", "required": ["freezes", "per"],
                "additionalProperties": false,
                "properties": {
                    "freezes": { "type": "integer", "minimum": 0, "maximum": 1_000_000 },
                    "per": { "$ref": "#/$defs/duration" }
                } },
            "per": per(),
            "value": { "type": ["string", "number", "boolean"] },
            "matcher": matcher(),
            "where": filter(),
            "action": action(),
            "then": { "type": "array", "items": { "$ref": "#/$defs/action" }, "default": ["alert"] },
            "level": { "type": "object", "additionalProperties": false,
                "oneOf": [{ "required": ["above"] }, { "required": ["below"] }],
                "properties": {
                    "above": { "type": "number" },
                    "below": { "type": "number" },
                    "forecast": { "$ref": "#/$defs/duration",
                        "description": "fires when the bound will be exceeded within this time" },
                    "severity": { "$ref": "#/$defs/severity" },
                    "then": { "$ref": "#/$defs/then" }
                },
                "dependentRequired": { "forecast": ["above"] } },
            "input": { "type": "object", "required": ["on", "measure"],
                "additionalProperties": false,
                "properties": {
                    "on": { "$ref": "#/$defs/kinds" },
                    "where": { "$ref": "#/$defs/where" },
                    "measure": { "$ref": "#/$defs/measure" }
                } },
            "rule": rule()
        }
    })
}

fn per() -> Value {
    let name = "user|device|ip|source|attrs\\..+";
    json!({ "oneOf": [
        { "type": "string", "pattern": format!("^({name}|global)$") },
        { "type": "array", "minItems": 1, "uniqueItems": true,
          "items": { "type": "string", "pattern": format!("^({name})$") } },
        { "const": ["global"] }
    ], "default": "user" })
}

fn matcher() -> Value {
    let value = json!({ "$ref": "#/$defs/value" });
    json!({ "oneOf": [
        value,
        { "type": "array", "minItems": 1, "items": value },
        { "type": "object", "minProperties": 1, "additionalProperties": false, "properties": {
            "eq": value,
            "ne": value,
            "gt": { "type": "number" },
            "gte": { "type": "number" },
            "lt": { "type": "number" },
            "lte": { "type": "number" },
            "in": { "type": "string", "minLength": 1 },
            "not_in": { "type": "string", "minLength": 1 },
            "prefix": { "type": "string", "minLength": 1 },
            "cidr": { "oneOf": [
                { "type": "string" },
                { "type": "array", "minItems": 1, "items": { "type": "string" } }
            ] },
            "exists": { "type": "boolean" }
        } }
    ] })
}

fn filter() -> Value {
    let matcher = json!({ "$ref": "#/$defs/matcher" });
    let nested = json!({ "$ref": "#/$defs/where" });
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "id": matcher, "user": matcher, "kind": matcher, "points": matcher,
            "source": matcher, "device": matcher, "ip": matcher, "hour": matcher,
            "weekday": matcher,
            "any": { "type": "array", "minItems": 1, "items": nested },
            "not": nested,
            "new": { "type": "object", "required": ["field", "within"],
                "additionalProperties": false,
                "properties": {
                    "field": { "type": "string", "pattern": "^(device|ip|source|attrs\\..+)$" },
                    "within": { "$ref": "#/$defs/duration" }
                } }
        },
        "patternProperties": { "^attrs\\..+$": matcher }
    })
}

fn action() -> Value {
    let only = |name: &str, body: Value| {
        json!({ "type": "object", "required": [name], "additionalProperties": false,
                "properties": { name: body } })
    };
    let body = |properties: Value| json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let mut deduct = body(json!({ "points": { "oneOf": [
        { "enum": ["all", "excess"] },
        { "type": "integer", "minimum": 1, "maximum": 1_000_000_000_000_i64 }
    ] } }));
    deduct["required"] = json!(["points"]);
    json!({ "oneOf": [
        { "enum": ["alert", "review", "freeze", "unfreeze"] },
        only("alert", body(json!({ "to": { "type": "string", "minLength": 1 } }))),
        only("freeze", body(json!({
            "scope": { "enum": ["account", "issue", "redeem", "activity"], "default": "account" },
            "for": { "anyOf": [{ "enum": ["forever", "window"] }, { "$ref": "#/$defs/duration" }],
                "default": "forever" }
        }))),
        only("unfreeze", body(json!({ "rule": { "type": "string", "minLength": 1 } }))),
        only("deduct", deduct)
    ] })
}

fn baseline() -> Value {
    json!({ "type": "object", "additionalProperties": false,
        "properties": {
            "method": { "enum": ["mean", "robust", "ewma", "seasonal"] },
            "history": { "type": "integer", "minimum": 2, "maximum": 10_000,
                "description": "windows, default 60; with `seasonal` seasons, default 8" },
            "min_windows": { "type": "integer", "minimum": 1, "maximum": 10_000 },
            "min_sd": { "type": "number", "exclusiveMinimum": 0, "default": 1 },
            "season": { "$ref": "#/$defs/duration", "default": "7d" },
            "neighbours": { "type": "integer", "minimum": 0, "maximum": 12 }
        },
        "if": { "properties": { "method": { "const": "seasonal" } }, "required": ["method"] },
        "then": { "properties": { "history": { "maximum": 100 } } },
        "else": { "properties": { "season": false, "neighbours": false } } })
}

fn rule() -> Value {
    json!({
        "type": "object",
        "required": ["name"],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 128,
                "not": { "pattern": "^tidegate\\." } },
            "description": { "type": "string", "minLength": 1 },
            "labels": { "type": "object", "maxProperties": 16,
                "propertyNames": { "pattern": "^[A-Za-z0-9_.-]{1,128}$" },
                "additionalProperties": { "type": "string", "minLength": 1, "maxLength": 128 } },
            "mode": { "enum": ["live", "shadow", "off"], "default": "live" },
            "on": { "$ref": "#/$defs/kinds" },
            "where": { "$ref": "#/$defs/where" },
            "per": { "$ref": "#/$defs/per" },
            "measure": { "$ref": "#/$defs/measure" },
            "window": { "$ref": "#/$defs/window" },
            "above": { "type": "number" },
            "below": { "type": "number" },
            "levels": { "type": "array", "minItems": 1, "maxItems": 32,
                "items": { "$ref": "#/$defs/level" } },
            "forecast": { "$ref": "#/$defs/duration" },
            "clear": { "type": "number" },
            "severity": { "$ref": "#/$defs/severity" },
            "then": { "$ref": "#/$defs/then" },
            "zscore": { "type": "object", "minProperties": 1, "additionalProperties": false,
                "properties": {
                    "above": { "type": "number", "exclusiveMinimum": 0 },
                    "below": { "type": "number", "exclusiveMaximum": 0 }
                } },
            "baseline": baseline(),
            "close_after": { "$ref": "#/$defs/duration" },
            "ratio": { "type": "object", "required": ["of", "to"], "additionalProperties": false,
                "properties": {
                    "of": { "$ref": "#/$defs/input" },
                    "to": { "$ref": "#/$defs/input" },
                    "min_to": { "type": "number", "exclusiveMinimum": 0, "default": 1 }
                } },
            "cooldown": { "$ref": "#/$defs/duration" },
            "budget": { "$ref": "#/$defs/budget" }
        }
    })
}
